#if LNN_PATH > 0
/* The two int16 of a word, clamped to lo ... hi. SSUB16 leaves in the flags GE which half is not
 * smaller, SEL takes its choice from there. */
LNN_INLINE int32_t lnn_clamp_both(int32_t both, int32_t lo, int32_t hi)
{
    const int32_t lo2 = lo * 65536 + (uint16_t)lo, hi2 = hi * 65536 + (uint16_t)hi;
    (void)__ssub16(both, hi2);
    both = (int32_t)__sel((uint32_t)hi2, (uint32_t)both);
    (void)__ssub16(both, lo2);
    return (int32_t)__sel((uint32_t)both, (uint32_t)lo2);
}
#endif
