/* Three ways to the same bits; -DLNN_PATH=n chooses: 0 plain C, 1 the DSP instructions of a Cortex-M4
 * or M7 as well, 2 a loop in assembly for the matrix products as well. */
#ifndef LNN_PATH
#if !defined(__GNUC__) || !defined(__ARM_FEATURE_DSP) || !defined(__thumb2__)
#define LNN_PATH 0
#elif !defined(__OPTIMIZE__) || !defined(__ARM_FEATURE_UNALIGNED)
#define LNN_PATH 1
#else
#define LNN_PATH 2
#endif
#endif
#if LNN_PATH > 0
#include <arm_acle.h>
/* Two int16 or four int8 values at once, wherever they begin; an LDR or STR. */
typedef struct __attribute__((packed, may_alias)) {
    int32_t all;
} lnn_word;
#define LNN_LOAD(p) (((const lnn_word *)(const void *)(p))->all)
#define LNN_STORE(p, word) (((lnn_word *)(void *)(p))->all = (word))
/* Nothing is loaded ahead across it: GCC loads further ahead than it has registers. */
#define LNN_FENCE() __asm__ __volatile__("" ::: "memory")
/* GCC forgets how a pointer is aligned: two LDR in a row are faster than the LDRD that it would make. */
#define LNN_FORGET(p) __asm__("" : "+r"(p))
#endif
