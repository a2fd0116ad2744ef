/* Runs the C of another tool on the emulated Cortex-M4, like model_harness.c runs lnnc's.
 *
 * peer_glue.h, written by peers.py, defines the sizes in bytes of its ports and of its state, and
 *     PEER_CALL(in, held, next, out)     one step: reads `in` and the state `held`, writes `out` and the state `next`.
 *
 * Input: records of uint32 flags, PEER_IN bytes. Flag 1: the state becomes 0 first. Flag 2: measure the stack.
 * Output for each: uint32 stack (0 where it was not measured), PEER_OUT bytes.
 *
 * `stack` is what the step used below the stack pointer of its caller, by painting: a network of float tensors on the
 * stack needs more than lnnc's own counter looks at. The pattern is the same as that counter's, which paints over it.
 * The state changes places by its index, so that no copy is charged to anyone.
 */
#include "harness.h"
#include "peer_glue.h"

#define RESET 1u
#define MEASURE 2u
#define PAINT 0xA5A5A5A5u
#define PAINTED (64u * 1024u)
#define ROOM(bytes) (((bytes) + 4u) / 4u)  /* words, at least one */

static uint32_t in[ROOM(PEER_IN)], out[ROOM(PEER_OUT)], state[2][ROOM(PEER_STATE)];

static inline __attribute__((always_inline)) uint32_t stack_pointer(void)
{
    uint32_t sp;
    __asm volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

/* No function is called between the painting and the step: it would stand on the paint. */
static inline __attribute__((always_inline)) void paint(uint32_t sp)
{
    volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)(sp - PAINTED);
    while ((uint32_t)(uintptr_t)at < sp) {
        *at++ = PAINT;
    }
}

static inline __attribute__((always_inline)) uint32_t depth(uint32_t sp)
{
    const volatile uint32_t *at = (const volatile uint32_t *)(uintptr_t)(sp - PAINTED);
    while ((uint32_t)(uintptr_t)at < sp && *at == PAINT) {
        at++;
    }
    return sp - (uint32_t)(uintptr_t)at;
}

static void copy(void *to, const uint8_t *from, uint32_t bytes)
{
    volatile uint8_t *at = (volatile uint8_t *)to;
    uint32_t i;
    for (i = 0u; i < bytes; i++) {
        at[i] = from[i];
    }
}

int harness_run(const uint8_t *input, uint32_t length)
{
    uint32_t now = 0u;
    while (length >= 4u + PEER_IN) {
        uint32_t used = 0u;
        uint32_t i;
        if ((input[0] & RESET) != 0u) {
            for (i = 0u; i < ROOM(PEER_STATE); i++) {
                state[now][i] = 0u;
            }
        }
        copy(in, input + 4, PEER_IN);
        if ((input[0] & MEASURE) != 0u) {
            paint(stack_pointer());
        }
        PEER_CALL(in, state[now], state[1u - now], out);
        if ((input[0] & MEASURE) != 0u) {
            used = depth(stack_pointer());
        }
        harness_write(&used, 4u);
        harness_write(out, PEER_OUT);
        now = 1u - now;
        input += 4u + PEER_IN;
        length -= 4u + PEER_IN;
    }
    return length == 0u ? HARNESS_OK : HARNESS_BAD_INPUT;
}
