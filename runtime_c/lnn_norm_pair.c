#if LNN_PATH > 0
/* Two elements of (7a): x and beta hold a pair each, power is 2^beta_shift < 2^15; offset includes
 * what rounds. SMLABB and SMLAWB multiply the lower halves, SMLATB and SMLAWT the upper ones. */
LNN_INLINE int32_t lnn_norm_pair(int32_t x, int32_t beta, int32_t scale, int32_t offset,
    int32_t power, int32_t shift, int32_t lo, int32_t hi)
{
    int32_t both;
    __asm__("smlabb %0, %1, %3, %4\n\tsmlatb %1, %1, %3, %4\n\tsmlawb %0, %5, %2, %0\n\t"
            "smlawt %1, %5, %2, %1\n\tasr %0, %6\n\tasr %1, %6\n\t"
            "ssat %0, #16, %0\n\tssat %1, #16, %1\n\tpkhbt %0, %0, %1, lsl #16"
        : "=&r"(both), "+&r"(beta)
        : "r"(x), "r"(power), "r"(offset), "r"(scale), "r"(shift));
    return lnn_clamp_both(both, lo, hi);
}
#endif
