#if LNN_PATH > 0
/* x plus the bytes 1 and 3 of four weights: SXTAB16 with a rotation, which GCC does not find. */
LNN_INLINE int32_t lnn_pair_s8(int32_t x, int32_t weight)
{
    int32_t sum;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(sum) : "r"(x), "r"(weight));
    return sum;
}
#endif
