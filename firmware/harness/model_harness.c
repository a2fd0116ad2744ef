/* Drives one generated model through its public API, by a stream of records.
 *
 * Built with, for a model named soh:
 *   -DLNN_HEADER="\"lnn.h\"" -DLNN_MODEL=soh -DLNN_MODEL_UPPER=SOH
 *
 * Input records (little endian)                     Output
 *   0x00                   reset                     'R' state
 *   0x01 int16[INPUTS]     step, ports 4-byte aligned    'S' int32 ret, int16[OUTPUTS], state
 *   0x02 int16[INPUTS]     step, ports at address % 4 == 2    the same
 *   0x03                   fill state and scratch with 0xA5    nothing
 * A trace build writes 'T' uint16 id, uint32 bytes, data for each hook that a step passes, before its 'S'.
 *
 * `out` holds 0x5A5A before each step, so "untouched" shows. Scratch starts as 0xA5 and is never cleared.
 */
#include "harness.h"
#include LNN_HEADER

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define API(suffix) PASTE(LNN_MODEL, suffix)
#define CONSTANT(suffix) PASTE(LNN_MODEL_UPPER, suffix)

#define INPUTS ((uint32_t)CONSTANT(_INPUTS))
#define OUTPUTS ((uint32_t)CONSTANT(_OUTPUTS))
#define SENTINEL ((int16_t)0x5A5A)
#define GARBAGE 0xA5u
#define GUARD 0xC3u
#define GUARDS 8u

/* AddressSanitizer fences every object itself, and to the byte; words of ours would only hide an overrun of a few bytes. */
#if defined(__SANITIZE_ADDRESS__)
#define OWN_GUARDS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_GUARDS 0
#endif
#endif
#ifndef OWN_GUARDS
#define OWN_GUARDS 1
#endif

typedef API(_state) model_state;
typedef API(_scratch) model_scratch;

#if OWN_GUARDS
typedef struct { uint8_t before[GUARDS]; model_state value; uint8_t after[GUARDS]; } guarded_state;
typedef struct { uint8_t before[GUARDS]; model_scratch value; uint8_t after[GUARDS]; } guarded_scratch;
#else
typedef struct { model_state value; } guarded_state;
typedef struct { model_scratch value; } guarded_scratch;
#endif

/* Ports for "even" steps begin at address % 4 == 0, for "odd" ones at 2. The uint32_t members only align. An input
 * ends with its array, so that AddressSanitizer sees a read past it; an output has a spare element on either side. */
typedef union { uint32_t aligned; int16_t port[INPUTS]; } even_input;
typedef union { uint32_t aligned; int16_t port[INPUTS + 1u]; } odd_input;
typedef union { uint32_t aligned; int16_t port[OUTPUTS + 3u]; } even_output;
typedef union { uint32_t aligned; int16_t port[OUTPUTS + 2u]; } odd_output;

static guarded_state state;
static guarded_scratch scratch;
static even_input in_even;
static odd_input in_odd;
static even_output out_even;
static odd_output out_odd;

static void fill(void *target, uint32_t bytes, uint8_t value)
{
    uint8_t *at = (uint8_t *)target;
    uint32_t i;
    for (i = 0u; i < bytes; i++) {
        at[i] = value;
    }
}

static void write_u32(uint32_t value)
{
    uint8_t bytes[4];
    bytes[0] = (uint8_t)(value & 0xFFu);
    bytes[1] = (uint8_t)((value >> 8) & 0xFFu);
    bytes[2] = (uint8_t)((value >> 16) & 0xFFu);
    bytes[3] = (uint8_t)((value >> 24) & 0xFFu);
    harness_write(bytes, 4u);
}

static void write_tag(char tag)
{
    const uint8_t byte = (uint8_t)tag;
    harness_write(&byte, 1u);
}

static void write_ports(const int16_t *port, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        const uint16_t bits = (uint16_t)port[i];
        uint8_t bytes[2];
        bytes[0] = (uint8_t)(bits & 0xFFu);
        bytes[1] = (uint8_t)(bits >> 8);
        harness_write(bytes, 2u);
    }
}

static int16_t read_i16(const uint8_t *at)
{
    const uint32_t bits = (uint32_t)at[0] | ((uint32_t)at[1] << 8);
    return (int16_t)(uint16_t)bits;
}

void harness_trace(uint16_t id, const void *data, uint32_t bytes)
{
    uint8_t head[2];
    head[0] = (uint8_t)(id & 0xFFu);
    head[1] = (uint8_t)(id >> 8);
    write_tag('T');
    harness_write(head, 2u);
    write_u32(bytes);
    harness_write(data, bytes);
}

#if OWN_GUARDS
/* Every guard byte has its own value: a copy that runs over both ends would hide behind equal ones. */
static void set_guard(uint8_t *at, uint32_t salt)
{
    uint32_t i;
    for (i = 0u; i < GUARDS; i++) {
        at[i] = (uint8_t)(GUARD + salt + i);
    }
}

static void set_guards(void)
{
    set_guard(state.before, 0u);
    set_guard(state.after, 11u);
    set_guard(scratch.before, 23u);
    set_guard(scratch.after, 37u);
}

static int all_guards(const uint8_t *at, uint32_t salt)
{
    uint32_t i;
    for (i = 0u; i < GUARDS; i++) {
        if (at[i] != (uint8_t)(GUARD + salt + i)) {
            return 0;
        }
    }
    return 1;
}

static int guards_hold(void)
{
    return all_guards(state.before, 0u) && all_guards(state.after, 11u) && all_guards(scratch.before, 23u)
           && all_guards(scratch.after, 37u);
}
#else
static void set_guards(void) {}
static int guards_hold(void) { return 1; }
#endif

static int run_reset(void)
{
    API(_reset)(&state.value);
    write_tag('R');
    harness_write(&state.value, (uint32_t)sizeof state.value);
    return guards_hold();
}

/* out[-1] and out[OUTPUTS] are spare. Returns 0 when something was written that must not be. */
static int run_step(const uint8_t *record, int16_t *in, int16_t *out)
{
    int16_t *const before = out - 1;
    uint32_t i;
    int32_t ret;
    for (i = 0u; i < INPUTS; i++) {
        in[i] = read_i16(record + 2u * i);
    }
    for (i = 0u; i < OUTPUTS + 2u; i++) {
        before[i] = SENTINEL;
    }
    ret = (int32_t)API(_step)(&state.value, &scratch.value, in, out);
    write_tag('S');
    write_u32((uint32_t)ret);
    write_ports(out, OUTPUTS);
    harness_write(&state.value, (uint32_t)sizeof state.value);
    for (i = 0u; i < INPUTS; i++) {
        if (in[i] != read_i16(record + 2u * i)) {
            return 0;
        }
    }
    return before[0] == SENTINEL && out[OUTPUTS] == SENTINEL && guards_hold();
}

int harness_run(const uint8_t *input, uint32_t length)
{
    const uint32_t step_bytes = 2u * INPUTS;
    uint32_t at = 0u;
    fill(&scratch.value, (uint32_t)sizeof scratch.value, GARBAGE);
    set_guards();
    while (at < length) {
        const uint8_t kind = input[at++];
        int fine = 1;
        if (kind == 0u) {
            fine = run_reset();
        } else if (kind == 3u) {
            fill(&state.value, (uint32_t)sizeof state.value, GARBAGE);
            fill(&scratch.value, (uint32_t)sizeof scratch.value, GARBAGE);
        } else if ((kind == 1u || kind == 2u) && length - at >= step_bytes) {
            fine = kind == 1u ? run_step(input + at, in_even.port, out_even.port + 2)
                              : run_step(input + at, in_odd.port + 1, out_odd.port + 1);
            at += step_bytes;
        } else {
            return HARNESS_BAD_INPUT;
        }
        if (!fine) {
            return HARNESS_OVERRUN;
        }
    }
    return HARNESS_OK;
}
