/* Drives one generated model through its public API, by a stream of records.
 *
 * Built with, for a model named soh:
 *   -DLNN_HEADER="\"lnn.h\"" -DLNN_MODEL=soh -DLNN_MODEL_UPPER=SOH
 * and -DLNN_HAS_DT where a step takes the time dt, -DLNN_HAS_SAVE where the state can be read, set, saved and loaded.
 *
 * Input records (little endian)                     Output
 *   0x00                   reset                     'R' state
 *   0x01 DT int16[INPUTS]  step, ports 4-byte aligned    'S' int32 ret, int16[OUTPUTS], state
 *   0x02 DT int16[INPUTS]  step, ports at address % 4 == 2    the same
 *   0x03                   fill state and scratch with 0xA5    nothing
 *   0x04                   get_state_raw             'G' int32 0, uint32 bytes, int32[STATES], state
 *   0x05 int32[STATES]     set_state_raw             'P' int32 ret, uint32 0, state
 *   0x06                   save                      'V' int32 0, uint32 bytes, what was saved, state
 *   0x07 uint32 n, n bytes load                      'L' int32 ret, uint32 0, state
 * DT is int32 dt where a step takes it, else nothing. A trace build writes 'T' uint16 id, uint32 bytes, data for each hook that a step passes, before its 'S'.
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

#if defined(LNN_HAS_DT)
#define DT_BYTES 4u
#define STEP(in, dt, out) API(_step)(&state.value, &scratch.value, in, dt, out)
#else
#define DT_BYTES 0u
#define STEP(in, dt, out) API(_step)(&state.value, &scratch.value, in, out)
#endif

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

#if defined(LNN_HAS_DT) || defined(LNN_HAS_SAVE)
static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | ((uint32_t)at[1] << 8) | ((uint32_t)at[2] << 16) | ((uint32_t)at[3] << 24);
}

static int32_t read_i32(const uint8_t *at)
{
    return (int32_t)read_u32(at);
}
#endif

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
#if defined(LNN_HAS_DT)
    const int32_t dt = read_i32(record);
#endif
    uint32_t i;
    int32_t ret;
    record += DT_BYTES;
    for (i = 0u; i < INPUTS; i++) {
        in[i] = read_i16(record + 2u * i);
    }
    for (i = 0u; i < OUTPUTS + 2u; i++) {
        before[i] = SENTINEL;
    }
    ret = (int32_t)STEP(in, dt, out);
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

#if defined(LNN_HAS_SAVE)
#define STATES ((uint32_t)CONSTANT(_STATES))
#define SAVE_BYTES ((uint32_t)CONSTANT(_SAVE_BYTES))

/* One element before and one after are spare, and tell of a write out of bounds. For AddressSanitizer an array ends
 * where the model may write no more; C has no array of 0 elements, so one of no numbers has a spare one there too. */
static int32_t numbers[STATES + 1u + OWN_GUARDS];
static uint8_t saved[SAVE_BYTES + 1u + OWN_GUARDS];
static uint8_t loaded[SAVE_BYTES];

static void write_outcome(char tag, int ret, uint32_t bytes)
{
    write_tag(tag);
    write_u32((uint32_t)(int32_t)ret);
    write_u32(bytes);
}

static void write_state(void)
{
    harness_write(&state.value, (uint32_t)sizeof state.value);
}

static int run_get(void)
{
    uint32_t i;
    fill(numbers, (uint32_t)sizeof numbers, GUARD);
    API(_get_state_raw)(&state.value, numbers + 1);
    write_outcome('G', 0, 4u * STATES);
    for (i = 0u; i != STATES; i++) {
        write_u32((uint32_t)numbers[1u + i]);
    }
    write_state();
    fill(numbers + 1, 4u * STATES, GUARD);
    for (i = 0u; i < (uint32_t)sizeof numbers; i++) {
        if (((const uint8_t *)numbers)[i] != GUARD) {
            return 0;
        }
    }
    return guards_hold();
}

static int run_set(const uint8_t *record)
{
    uint32_t i;
    for (i = 0u; i != STATES; i++) {
        numbers[1u + i] = read_i32(record + 4u * i);
    }
    write_outcome('P', API(_set_state_raw)(&state.value, numbers + 1), 0u);
    write_state();
    for (i = 0u; i != STATES; i++) {
        if (numbers[1u + i] != read_i32(record + 4u * i)) {
            return 0;
        }
    }
    return guards_hold();
}

static int run_save(void)
{
    fill(saved, (uint32_t)sizeof saved, GUARD);
    API(_save)(&state.value, saved + 1);
    write_outcome('V', 0, SAVE_BYTES);
    harness_write(saved + 1, SAVE_BYTES);
    write_state();
    return saved[0] == GUARD && (OWN_GUARDS == 0 || saved[sizeof saved - 1u] == GUARD) && guards_hold();
}

/* What is no longer than a saved state is loaded from the end of its own array, so that AddressSanitizer sees a read
 * past it. */
static int run_load(const uint8_t *record, uint32_t bytes)
{
    const uint8_t *from = record;
    uint32_t i;
    if (bytes <= SAVE_BYTES) {
        uint8_t *const to = loaded + (SAVE_BYTES - bytes);
        for (i = 0u; i < bytes; i++) {
            to[i] = record[i];
        }
        from = to;
    }
    write_outcome('L', API(_load)(&state.value, from, bytes), 0u);
    write_state();
    for (i = 0u; i < bytes; i++) {
        if (from[i] != record[i]) {
            return 0;
        }
    }
    return guards_hold();
}

/* A record of the kinds 4 to 7: bytes that it takes after its kind, or length + 1 when it is cut short. */
static uint32_t state_record_bytes(uint8_t kind, const uint8_t *record, uint32_t length)
{
    if (kind == 5u) {
        return 4u * STATES;
    }
    if (kind != 7u) {
        return 0u;
    }
    return length < 4u || read_u32(record) > length - 4u ? length + 1u : 4u + read_u32(record);
}

static int run_state_record(uint8_t kind, const uint8_t *record)
{
    switch (kind) {
    case 4u:
        return run_get();
    case 5u:
        return run_set(record);
    case 6u:
        return run_save();
    default:
        return run_load(record + 4, read_u32(record));
    }
}
#else
static uint32_t state_record_bytes(uint8_t kind, const uint8_t *record, uint32_t length)
{
    (void)kind;
    (void)record;
    return length + 1u;
}

static int run_state_record(uint8_t kind, const uint8_t *record)
{
    (void)kind;
    (void)record;
    return 0;
}
#endif

int harness_run(const uint8_t *input, uint32_t length)
{
    const uint32_t step_bytes = DT_BYTES + 2u * INPUTS;
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
        } else if (kind >= 4u && kind <= 7u && state_record_bytes(kind, input + at, length - at) <= length - at) {
            fine = run_state_record(kind, input + at);
            at += state_record_bytes(kind, input + at, length - at);
        } else {
            return HARNESS_BAD_INPUT;
        }
        if (!fine) {
            return HARNESS_OVERRUN;
        }
    }
    return HARNESS_OK;
}
