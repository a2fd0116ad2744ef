"""Cycling data and other sequences: files, repairs, windows, splits, baselines. Nothing here knows a model."""
