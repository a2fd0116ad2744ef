"""The jinja2 templates of the generated files, each named after the file it makes; layout only."""
