"""A model on a device, driven over a serial line: `lnnc verify --on device`. docs/device.md is the specification."""
