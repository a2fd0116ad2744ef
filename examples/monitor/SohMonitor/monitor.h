/* A monitor of one battery cell: capacities in, one a cycle, forecasts of its state of health (SOH) out.
 *
 * Portable C99 without heap or floats. The model is the library that `lnnc compile` wrote; what the monitor adds is
 * order among the cycles, a memory that outlives power, and the cycles that remain to 80 %.
 * lines.h shows it as lines of text, gatt.h as Bluetooth characteristics.
 */
#ifndef MONITOR_H
#define MONITOR_H

#include "journal.h"
#include <soh.h>

#if SOH_INPUTS != 1 || SOH_INPUT_FRAC != 14 || SOH_OUTPUT_FRAC != 14
#error "the monitor takes a model with one input, SOH, and forecasts of it, both in Q14"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MONITOR_EXPERTS 4        /* the network, the anchor line, the line of 50 cycles, the parabola of 100 */
#define MONITOR_UNIT 1000000u    /* capacities are in uAh, SOH as a decimal number in millionths */
#define MONITOR_NOMINAL 1100000u /* uAh, until another is set: the cells of the training */
#define MONITOR_END 13108        /* 0.8 * 2^14 is 13107.2: the first whole number that is not below 80 % */
#define MONITOR_MOST 24576       /* 1.5 * 2^14: what is above is a mistake of units, not a cell */
#define MONITOR_FILL 100u        /* cycles that a line may stand in for */
#define MONITOR_BEYOND (SOH_OUTPUTS + 1)

/* What is kept: first and last cycle, nominal capacity, the value that followed the state, the state. In words. */
#define MONITOR_HEAD 16u
#define MONITOR_KEPT ((MONITOR_HEAD + SOH_SAVE_BYTES + 3u) / 4u * 4u)

/* A trust gate is not told by a macro, only by the state: in one line, which compilers show. */
typedef char model_needs_a_trust_gate[sizeof(((soh_state *)0)->trust_weights) == 2u * MONITOR_EXPERTS ? 1 : -1];

typedef enum {
    MONITOR_OK,
    MONITOR_DUPLICATE, /* the newest cycle once more: nothing was changed */
    MONITOR_OLD,       /* a cycle before the newest one */
    MONITOR_GAP,       /* cycles are missing before this one */
    MONITOR_RANGE,     /* no such SOH, cycle or nominal capacity */
    MONITOR_LOCKED     /* the nominal capacity cannot change in the middle of a life */
} monitor_result;

typedef struct {
    soh_state model;
    soh_scratch scratch;
    journal kept;
    const journal_port *port;
    uint32_t nominal;                   /* uAh */
    uint32_t first, last;               /* cycles; they mean something when `started` */
    uint32_t origin;                    /* the cycle that the forecast was made at */
    uint32_t saved;                     /* the last cycle that would survive a loss of power */
    uint16_t changes;                   /* counts whatever may be shown, so that a display knows of news */
    int16_t value;                      /* SOH of the last cycle, Q14 */
    int16_t forecast[SOH_OUTPUTS];      /* SOH of the cycles origin + 1, origin + 2, ..., Q14 */
    uint8_t missing;                    /* cycles to the next forecast; 0: one has just come, or nothing has */
    uint8_t started, forecasts, failed; /* a cycle was taken; a forecast is there; the memory failed */
    uint8_t filled;                     /* cycles that the last feed filled in */
    uint8_t record[JOURNAL_RECORD(MONITOR_KEPT)];
} monitor;

/* Power on: takes up what was kept, the last forecast too. `port` 0: there is nothing that outlives power. */
void monitor_begin(monitor *m, const journal_port *port);

/* A new cell; the nominal capacity stays. */
void monitor_reset(monitor *m);

/* One cycle's SOH in Q14. With `fill`, a straight line stands in for up to MONITOR_FILL missing cycles. */
monitor_result monitor_feed(monitor *m, uint32_t cycle, int16_t soh, int fill);

/* The same in uAh of discharged capacity. */
monitor_result monitor_feed_capacity(monitor *m, uint32_t cycle, uint32_t capacity, int fill);

/* The same in millionths of SOH. */
monitor_result monitor_feed_soh(monitor *m, uint32_t cycle, uint32_t millionths, int fill);

/* The nominal capacity in uAh, before the first cycle. */
monitor_result monitor_set_nominal(monitor *m, uint32_t nominal);

/* The cycle that has to come next. Before any came, 1: then the history may begin anywhere, best at the first cycle,
 * at least 100 cycles ago. */
uint32_t monitor_needs(const monitor *m);

/* t of the first forecast cycle below 80 %: 1 ... 100; MONITOR_BEYOND: none is; 0: there is no forecast. */
uint8_t monitor_remaining(const monitor *m);

/* What the gate gives each of the MONITOR_EXPERTS, Q14. */
const int16_t *monitor_trust(const monitor *m);

#ifdef __cplusplus
}
#endif

#endif
