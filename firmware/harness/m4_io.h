/* What m4_startup.c needs of m4_io.c. */
#ifndef LNN_M4_IO_H
#define LNN_M4_IO_H

#include "harness.h"

/* Runs the harness over the input in memory and flushes its output; returns the exit status. */
int m4_run(void);

/* Ends the emulation with this exit status. */
void m4_exit(int status);

/* Writes "name 0x<value>" and a newline to stderr. */
void m4_complain(const char *name, uint32_t value);

#endif
