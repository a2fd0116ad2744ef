"""The core temperature of a battery cell, from current and two temperatures: a CfC of ncps, streamed."""
