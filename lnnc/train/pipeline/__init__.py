"""From files to a chosen, compiled, verified model: the configuration and its stages."""
