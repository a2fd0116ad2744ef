"""The two intermediate representations: `graph` (float meaning) and `program` (integers only)."""
