/* The seam between a test program and the machine it runs on.
 *
 * A machine (io_host.c, or m4_startup.c + m4_io.c) calls harness_run() once with the whole input and collects
 * everything that harness_write() is given. A test program defines harness_run() and nothing of the machine.
 * No libc is needed on either side of this header.
 */
#ifndef LNN_HARNESS_H
#define LNN_HARNESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What harness_run() returns; it becomes the exit status of the program. */
enum {
    HARNESS_OK = 0,
    HARNESS_BAD_INPUT = 90,    /* a record of unknown kind, or one cut short */
    HARNESS_OVERRUN = 91,      /* the code under test wrote outside `out`, its state or its scratch, or into `in` */
    HARNESS_FAULT = 92,        /* the processor took a fault (the Cortex-M4 only; the report is on stderr) */
    HARNESS_NO_MEMORY = 93     /* the machine could not hold the input */
};

/* Defined by the test program. `input` is 4-byte aligned. */
int harness_run(const uint8_t *input, uint32_t length);

/* Defined by the machine: append `bytes` bytes to the output stream. */
void harness_write(const void *data, uint32_t bytes);

/* Defined by model_harness.c: what a generated file's <NAME>_TRACE(id, data, bytes) hook is set to. */
void harness_trace(uint16_t id, const void *data, uint32_t bytes);

#ifdef __cplusplus
}
#endif

#endif
