/* Sum of x0 x2 + x1 x3 over all whole groups of four, modulo 2^32: what Winograd's identity takes
 * from every row alike. */
static uint32_t lnn_cross_s16(const int16_t *x, int32_t n)
{
    const int16_t *const end = x + (n & ~(int32_t)3);
    uint32_t sum = 0;
    if (n < 4)
        return 0;
    do {
#if LNN_PATH > 0
        sum = (uint32_t)__smlad(LNN_LOAD(x), LNN_LOAD(x + 2), (int32_t)sum);
#else
        sum += (uint32_t)((int32_t)x[0] * x[2]) + (uint32_t)((int32_t)x[1] * x[3]);
#endif
        x += 4;
    } while (x != end);
    return sum;
}
