"""Sequences of any kind: the task, and networks for it."""
