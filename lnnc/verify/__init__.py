"""Runs generated C on a machine (host, emulated Cortex-M4) and compares it with the reference."""
