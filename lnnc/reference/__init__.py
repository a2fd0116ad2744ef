"""The NumPy meaning of a Program: what the generated C must equal, byte for byte."""
