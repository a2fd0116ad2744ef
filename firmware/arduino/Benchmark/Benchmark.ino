/* Measures the time of a step on this board: the least, the mean and the worst of a hundred.
 *
 * SPDX-License-Identifier: 0BSD (yours to use without any condition)
 *
 * In cycles where the core counts them (Cortex-M3, M4, M7), else in microseconds. Interrupts count as well: those of
 * the millisecond timer make the worst step a little longer than it is.
 */
#include <lnn.h>

static const uint16_t STEPS = 100;

static lnn_state state;
static lnn_scratch scratch;
static int16_t in[LNN_INPUTS], out[LNN_OUTPUTS];
static uint16_t ramp;

/* Raw inputs over the whole range: slow for the eye, new in every step. */
static void next_inputs()
{
    for (uint16_t i = 0; i < LNN_INPUTS; i++) {
        ramp = (uint16_t)(ramp + 257u);
        in[i] = (int16_t)ramp;
    }
}

static int step()
{
#ifdef LNN_DT_FRAC
    return lnn_step(&state, &scratch, in, LNN_DT_MIN + (LNN_DT_MAX - LNN_DT_MIN) / 2, out);
#else
    return lnn_step(&state, &scratch, in, out);
#endif
}

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__)
#define UNIT " cycles"

static void start_clock()
{
    *(volatile uint32_t *)0xE000EDFCu |= 1ul << 24; /* DEMCR.TRCENA: power for the unit */
    *(volatile uint32_t *)0xE0001000u |= 1u;        /* DWT_CTRL.CYCCNTENA */
}

static uint32_t now()
{
    return *(volatile uint32_t *)0xE0001004u; /* DWT_CYCCNT */
}
#else
#define UNIT " us"

static void start_clock()
{
}

static uint32_t now()
{
    return micros();
}
#endif

static void report(const __FlashStringHelper *what, uint32_t value)
{
    Serial.print(what);
    Serial.print(value);
    Serial.println(F(UNIT));
}

void setup()
{
    Serial.begin(115200);
    while (!Serial && millis() < 3000) {
        /* a board with USB of its own: wait for somebody to look, but not for ever */
    }
    start_clock();
    lnn_reset(&state);
    do { /* until the first outputs: a window must be full */
        next_inputs();
    } while (step() > 0);

    uint32_t least = 0xFFFFFFFFul, worst = 0, sum = 0, us = 0;
    for (uint16_t i = 0; i < STEPS; i++) {
        next_inputs();
        const uint32_t us_before = micros();
        const uint32_t before = now();
        step();
        const uint32_t took = now() - before;
        us += micros() - us_before;
        sum += took;
        least = took < least ? took : least;
        worst = took > worst ? took : worst;
    }
    if (worst == 0) {
        Serial.println(F("the cycle counter stands still (an emulator?)"));
    } else {
        report(F("least "), least);
        report(F("mean  "), sum / STEPS);
        report(F("worst "), worst);
    }
    Serial.print(F("mean  "));
    Serial.print((float)us / (1000.0f * STEPS), 3);
    Serial.println(F(" ms"));
}

void loop()
{
}
