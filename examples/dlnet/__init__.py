"""A DLNet student: battery state of health, 100 cycles in, 100 cycles out."""
