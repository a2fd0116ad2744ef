/* Calls single kernels on arguments from the input; `kernel_cases.h` is generated from the kernels' records.
 *
 * Input, a sequence of cases (little endian, every item a multiple of 4 bytes):
 *   uint8 kernel, odd, in_place, 0; then the parameters in order:
 *     number             int32
 *     array that is read uint32 bytes, the bytes, padding
 *     array only written uint32 bytes
 * odd: arrays begin one element after a multiple of 8, the least alignment that C promises. in_place: the result
 * overwrites the input that the record allows for it.
 * Output of a case: uint8 status (0 fine, 1 wrote before an array, 2 wrote after it, 3 changed an input), int32
 * returned value, and the written arrays in order.
 *
 * AddressSanitizer fences the arrays to the byte; elsewhere each has guard bytes of its own.
 */
#include "harness.h"

#if defined(__SANITIZE_ADDRESS__)
#define FENCED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FENCED 1
#endif
#endif
#ifdef FENCED
#include <sanitizer/asan_interface.h>
#define FENCE(at, bytes) __asan_poison_memory_region((at), (bytes))
#define OPEN(at, bytes) __asan_unpoison_memory_region((at), (bytes))
#else
#define FENCED 0
#define FENCE(at, bytes) fill((at), (bytes), guard_of(taken - 1u))
#define OPEN(at, bytes) (void)0
#endif

#define ARENA 524288u
#define GUARDS 16u /* bytes on either side; keeps the multiple of 8 */
#define SENTINEL 0x5Au
#define BLOCKS 16u

/* given: the bytes it came with, which must not change; 0: it is written */
typedef struct { uint8_t *at; uint32_t bytes; const uint8_t *given; } block;

static union { int64_t align; uint8_t bytes[ARENA]; } arena;
static block arrays[BLOCKS];
static uint32_t taken, used, odd, in_place;
static const uint8_t *cursor, *input_end;
static const uint8_t nothing[4];
static int broken; /* the input ended inside a case, or a case is too large */

static void fill(uint8_t *at, uint32_t bytes, uint8_t value)
{
    uint32_t i;
    for (i = 0u; i < bytes; i++) {
        at[i] = value;
    }
}

#if FENCED == 0
/* Each array has its own, so that a guard copied over another's shows. */
static uint8_t guard_of(uint32_t index)
{
    return (uint8_t)(0xC3u - 7u * index);
}
#endif

static const uint8_t *take_bytes(uint32_t bytes)
{
    const uint8_t *const at = cursor;
    if (bytes > (uint32_t)(input_end - cursor)) {
        broken = 1;
        return nothing; /* the case is given up before its call */
    }
    cursor += bytes;
    return at;
}

static uint32_t take_u32(void)
{
    const uint8_t *const at = take_bytes(4u);
    return (uint32_t)at[0] | ((uint32_t)at[1] << 8) | ((uint32_t)at[2] << 16) | ((uint32_t)at[3] << 24);
}

static int32_t take_number(void)
{
    return (int32_t)take_u32();
}

/* An array of `bytes` bytes with guards around it. */
static block *place(uint32_t bytes, uint32_t width)
{
    block *const found = &arrays[taken];
    const uint32_t first = used + GUARDS + (odd != 0u ? width : 0u);
    if (taken + 1u >= BLOCKS || bytes > ARENA / 2u || first + bytes + 2u * GUARDS > ARENA) {
        broken = 1;
    } else {
        taken++;
        used = ((first + bytes + 7u) & ~7u) + GUARDS;
        FENCE(arena.bytes + first - GUARDS, GUARDS);
        FENCE(arena.bytes + first + bytes, GUARDS);
    }
    found->at = arena.bytes + (broken != 0 ? 0u : first);
    found->bytes = broken != 0 ? 0u : bytes;
    found->given = 0;
    OPEN(found->at, found->bytes);
    return found;
}

static void *take_array(uint32_t width, int kept)
{
    const uint32_t bytes = take_u32();
    const uint8_t *const from = take_bytes((bytes + 3u) & ~3u);
    block *const found = place(bytes, width);
    uint32_t i;
    for (i = 0u; i < found->bytes && broken == 0; i++) {
        found->at[i] = from[i];
    }
    found->given = kept != 0 ? from : 0;
    return found->at;
}

static void *take_input(uint32_t width)
{
    return take_array(width, 1);
}

static void *take_inout(uint32_t width)
{
    return take_array(width, 0);
}

/* `over`: the input that an in-place case overwrites, or 0. */
static void *take_output(uint32_t width, const void *over)
{
    const uint32_t bytes = take_u32();
    block *found;
    uint32_t i;
    for (i = 0u; i < taken && in_place != 0u; i++) {
        if ((const void *)arrays[i].at == over) {
            arrays[i].given = 0;
            return arrays[i].at;
        }
    }
    found = place(bytes, width);
    fill(found->at, found->bytes, SENTINEL);
    return found->at;
}

#include "kernel_cases.h"

#if FENCED == 0
static int guards_hold(const uint8_t *at, uint8_t guard)
{
    uint32_t i;
    for (i = 0u; i < GUARDS; i++) {
        if (at[i] != guard) {
            return 0;
        }
    }
    return 1;
}
#endif

static uint8_t status_of(uint32_t index)
{
    const block *const one = &arrays[index];
    uint32_t i;
#if FENCED == 0
    if (guards_hold(one->at - GUARDS, guard_of(index)) == 0) {
        return 1u;
    }
    if (guards_hold(one->at + one->bytes, guard_of(index)) == 0) {
        return 2u;
    }
#endif
    for (i = 0u; i < one->bytes && one->given != 0; i++) {
        if (one->at[i] != one->given[i]) {
            return 3u;
        }
    }
    return 0u;
}

static void report(int32_t ret)
{
    const uint32_t bits = (uint32_t)ret;
    uint8_t head[5] = {0u, 0u, 0u, 0u, 0u};
    uint32_t i;
    for (i = 0u; i < 4u; i++) {
        head[1u + i] = (uint8_t)((bits >> (8u * i)) & 0xFFu);
    }
    for (i = 0u; i < taken && head[0] == 0u; i++) {
        head[0] = status_of(i);
    }
    harness_write(head, 5u);
    for (i = 0u; i < taken; i++) {
        if (arrays[i].given == 0) {
            harness_write(arrays[i].at, arrays[i].bytes);
        }
    }
}

int harness_run(const uint8_t *input, uint32_t length)
{
    cursor = input;
    input_end = input + length;
    while (cursor < input_end) {
        const uint8_t *const head = take_bytes(4u);
        int32_t ret;
        if (broken != 0 || head[0] >= CASES) {
            return HARNESS_BAD_INPUT;
        }
        taken = 0u;
        used = 0u;
        odd = head[1];
        in_place = head[2];
        OPEN(arena.bytes, ARENA);
        ret = run_case(head[0]);
        if (broken != 0) {
            return HARNESS_BAD_INPUT;
        }
        report(ret);
    }
    return HARNESS_OK;
}
