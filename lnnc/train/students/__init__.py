"""Students of the battery formulation: what they see, how they forecast, how they are trained and compiled."""
