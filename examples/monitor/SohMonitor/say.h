/* What the monitor says, a line each. `what` is a TEXT. */
#ifndef SAY_H
#define SAY_H

#include "lines.h"

#ifdef __cplusplus
extern "C" {
#endif

void say_ready(lines *l);
void say_status(lines *l);
void say_forecast(lines *l); /* forecast, trust, remaining: three lines */
void say_need(lines *l);
void say_taken(lines *l, uint32_t cycle, int again);
void say_ok(lines *l, const char *what);
void say_error(lines *l, const char *what);
void say_refused(lines *l, const char *what, uint32_t cycle);

#ifdef __cplusplus
}
#endif

#endif
