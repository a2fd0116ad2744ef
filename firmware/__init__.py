"""C sources that run generated code on the host, on an emulated Cortex-M4 and on boards (data of `lnnc.firmware`)."""
