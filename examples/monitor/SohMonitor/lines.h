/* The monitor as lines of ASCII text: docs/monitor.md lists them.
 *
 * A line that is sent ends with *hh, the exclusive or of the characters before the asterisk in hexadecimal, as in
 * NMEA 0183. A line that is received may leave it out, for somebody who types, until `check on` demands it. A command
 * is answered by lines of which exactly the last one begins with `ok` or `error`: whoever waits for it before the next
 * command never overruns the 64 bytes that an Uno receives meanwhile.
 */
#ifndef LINES_H
#define LINES_H

#include "monitor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINES_PROTOCOL 1u
#define LINES_LONGEST 48u

typedef void (*lines_put)(char c, void *where);

typedef struct {
    monitor *device;
    lines_put put;
    void *where;
    char line[LINES_LONGEST + 1u];
    uint8_t length; /* LINES_LONGEST + 1: too long, up to the next end of line */
    uint8_t sum;    /* of the line that is being sent */
    uint8_t checked;
} lines;

void lines_begin(lines *l, monitor *device, lines_put put, void *where);

/* Says what is there, after power on: ready, status, the forecast if one was kept, need. */
void lines_hello(lines *l);

/* A character that was received. At the end of a line the command is done and answered. */
void lines_take(lines *l, char c);

/* Says what a cycle has led to that came another way, as if it had come as a line. */
void lines_report(lines *l, uint32_t cycle, monitor_result result);

#ifdef __cplusplus
}
#endif

#endif
