"""The C kernels that are amalgamated into the generated file, one function per file."""
