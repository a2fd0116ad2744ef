/* Lets a computer drive the model over a serial line, to prove it on the device it runs on.
 *
 * SPDX-License-Identifier: 0BSD (yours to use without any condition)
 *
 * `lnnc verify MODEL --on device --port ...` is the other side; lnnc's docs/device.md specifies the protocol. A sketch or a
 * main() gives every byte that arrives to lnn_device_take() and says how bytes are sent. Nothing here waits, allocates
 * or needs a clock. Not needed by a product: the model does not refer to it.
 */
#ifndef LNN_DEVICE_H
#define LNN_DEVICE_H

#include "lnn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the board gives. `ticks` counts up, `hz` times a second, and may wrap around; 0 for `ticks`: no time is measured. */
typedef struct {
    void (*write)(uint8_t byte); /* sends a byte, waits where there is no room */
    uint32_t (*ticks)(void);
    uint32_t hz;
    const char *board; /* a name for people, at most 64 characters */
} lnn_device_port;

/* Where a request arrives and a step works; a saved state lies over it, so neither survives the other. `in`, `dt` and
 * `steps` begin as a request has them: little endian, without gaps. */
typedef union {
    struct {
        int16_t in[LNN_INPUTS];
        uint8_t dt[4];
        uint8_t steps[2];
        int16_t out[LNN_OUTPUTS];
        lnn_scratch scratch;
    } step;
    uint8_t saved[LNN_SAVE_BYTES];
} lnn_device_room;

typedef struct {
    const lnn_device_port *port;
    lnn_state state;
    lnn_device_room room;
    uint32_t crc;       /* of the frame that arrives, later of the answer that leaves */
    uint32_t took;      /* ticks of the last step */
    int32_t returned;   /* what it returned */
    uint32_t count;     /* bytes of the frame that arrived */
    uint8_t head[4];    /* its type, number and length */
    uint8_t escaped;    /* the last byte was an escape */
    uint8_t stage;      /* 0: no hello yet, 1: no state yet, 2: has a state */
    uint8_t last;       /* number of the last request */
    uint8_t last_type;  /* its type */
    uint8_t kept;       /* the outputs of the last step still stand in the room */
} lnn_device;

/* Forgets everything; the next request must be a hello. */
void lnn_device_start(lnn_device *device, const lnn_device_port *port);

/* Takes a byte that arrived. When it ends a request, the request is run and answered before this returns. */
void lnn_device_take(lnn_device *device, uint8_t byte);

#ifdef __cplusplus
}
#endif

#endif
