#if LNN_PATH > 0
/* Two values, clamped to lo ... hi, as int16 in the halves of a word. */
LNN_INLINE int32_t lnn_clamp_pair(int32_t low, int32_t high, int32_t lo, int32_t hi)
{
    int32_t both, upper;
    __asm__("ssat %0, #16, %2\n\tssat %1, #16, %3\n\tpkhbt %0, %0, %1, lsl #16"
        : "=&r"(both), "=&r"(upper)
        : "r"(low), "r"(high));
    return lnn_clamp_both(both, lo, hi);
}
#endif
