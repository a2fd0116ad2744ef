"""Two tanks and a pump: any CSV of sequences through the pipeline, and no battery in it."""
