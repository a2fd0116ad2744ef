#if LNN_PATH > 0
/* Two elements of (7a): x and beta hold a pair each, power is 2^beta_shift < 2^15; offset includes
 * what rounds. SMLABB and SMLAWB multiply the lower halves, SMLATB and SMLAWT the upper ones. */
LNN_INLINE int32_t lnn_norm_pair(int32_t x, int32_t beta, int32_t scale, int32_t offset,
    int32_t power, int32_t shift, int32_t lo, int32_t hi)
{
    const int32_t low = __smlawb(scale, x, __smlabb(beta, power, offset));
    const int32_t high = __smlawt(scale, x, __smlatb(beta, power, offset));
    return lnn_clamp_pair(low >> shift, high >> shift, lo, hi);
}
#endif
