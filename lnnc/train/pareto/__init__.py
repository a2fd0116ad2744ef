"""Fronts, choices, and searches by any number of workers."""
