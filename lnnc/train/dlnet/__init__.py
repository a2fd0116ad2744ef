"""The paper's networks, and its experiment done again."""
