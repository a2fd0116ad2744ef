/* The core temperature of a battery cell, streamed. Standard input stands for the sensors, a sample on each line:
 *
 *     seconds since the last sample, current [A], surface [deg C], ambient [deg C], true core [deg C]
 *
 * `python cells.py` prints such lines. What is printed: the estimated core temperature of each sample, and at the end
 * how far the estimates were from the true ones.
 */
#include "core.h"
#include <stdio.h>
#include <string.h>

#define UNIT 5.0f        /* seconds; the network's unit of time */
#define AWAKE_SAMPLES 60 /* then the machine sleeps deeply, and its RAM is lost */

static core_state state;                /* one for each cell */
static core_scratch scratch;            /* all cells may share it */
static uint8_t backup[CORE_SAVE_BYTES]; /* EEPROM, flash or RAM that outlives the sleep */

static void sleep_deeply(void)
{
    core_save(&state, backup);
    memset(&state, 0xA5, sizeof state); /* no power */
    if (core_load(&state, backup, CORE_SAVE_BYTES) != 0)
        core_reset(&state); /* the backup was damaged: start anew */
}

/* Returns what core_step returns; *core is valid when that is 0. */
static int estimate(float seconds, const float *sensors, float *core)
{
    int16_t in[CORE_INPUTS], out[CORE_OUTPUTS];
    int i, code;

    for (i = 0; i < CORE_INPUTS; i++)
        in[i] = core_from_real(i, sensors[i]);
#ifdef CORE_DT_FRAC /* compiled with --runtime-dt: samples may come at any time */
    code = core_step(&state, &scratch, in, core_dt_from_real(seconds / UNIT), out);
#else
    (void)seconds; /* always UNIT */
    code = core_step(&state, &scratch, in, out);
#endif
    if (code == 0)
        *core = sensors[1] + core_to_real(0, out[0]); /* surface + rise */
    return code;
}

int main(void)
{
    float seconds, sensors[CORE_INPUTS], truth, core = 0.0f, sum = 0.0f;
    long samples = 0;

    core_reset(&state);
    while (scanf("%f %f %f %f %f", &seconds, &sensors[0], &sensors[1], &sensors[2], &truth) == 5) {
        if (estimate(seconds, sensors, &core) != 0) {
            fprintf(stderr, "sample %ld: %g s is not a time that the model was compiled for\n",
                samples, (double)seconds);
            return 1;
        }
        printf("%.3f\n", (double)core);
        sum += core > truth ? core - truth : truth - core;
        if (++samples % AWAKE_SAMPLES == 0)
            sleep_deeply();
    }
    if (samples == 0)
        return 1;
    printf("mean |error| of %ld samples: %.3f K\n", samples, (double)(sum / (float)samples));
    return 0;
}
