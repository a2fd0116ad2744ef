"""A monitor of a battery's state of health: a sketch for a board, a page for a browser."""
