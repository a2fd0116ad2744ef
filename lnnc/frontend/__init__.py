"""From files to a Graph: checkpoints, imports, and the one place that knows the equations of a network family."""
