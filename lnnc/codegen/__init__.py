"""Prints a Program as C: no decision is taken here."""
