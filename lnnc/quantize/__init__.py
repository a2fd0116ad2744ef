"""From real numbers to integers: calibrate, choose scales, lower, prove bounds, plan memory."""
