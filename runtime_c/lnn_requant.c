/* (1) acc * mult / 2^32, rounded to nearest, ties up. The only rounding of products with an
 * accumulator; one SMMULR on a Cortex-M4. |result| <= 2^30: nothing can overflow. */
LNN_FAST int32_t lnn_requant(int32_t acc, int32_t mult)
{
#if LNN_PATH > 0
    int32_t value;
    __asm__("smmulr %0, %1, %2" : "=r"(value) : "r"(acc), "r"(mult));
    return value;
#else
    return (int32_t)(((int64_t)acc * mult + ((int64_t)1 << 31)) >> 32);
#endif
}
