/* (5), (6) Mean and 1/sigma of x: afterwards (*scale * x[i] >> 16) + *offset is
 * unit * (x[i] - mean) / sigma, with unit * n = gain * 2^(46 - gain_shift) and inv_n = 2^31 / n.
 * sigma^2 = var(x) + epsilon; eps << eps_shift is n^2 epsilon in units of x^2. */
static void lnn_norm_stats(const int16_t *x, int32_t n, int32_t inv_n, int32_t eps,
    int32_t eps_shift, int32_t gain, int32_t gain_shift, int32_t *scale, int32_t *offset)
{
    const int16_t *const end = x + n;
    int32_t step, shift, mean_q16, sum = 0;
    int64_t squares = 0;
    uint64_t variance, r;
    uint32_t u, y;
#if LNN_PATH > 0
    if (n > 3) {
        const int16_t *const fours = x + (n & ~(int32_t)3);
        do { /* SMLAD and SMLALD: two values each */
            const int32_t a = LNN_LOAD(x), b = LNN_LOAD(x + 2);
            sum = __smlad(b, 0x00010001, __smlad(a, 0x00010001, sum));
            squares = __smlald(b, b, __smlald(a, a, squares));
            x += 4;
        } while (x != fours);
    }
#endif
    for (; x != end; x++) {
        sum += *x;
        squares += (int32_t)*x * *x;
    }
    /* n^2 sigma^2 < 2^62, shifted by bit pairs into [2^62, 2^64) */
    variance = (uint64_t)(n * squares - (int64_t)sum * sum) + ((uint64_t)eps << eps_shift);
#if LNN_PATH > 0
    u = (uint32_t)(variance >> 32);
    step = (u ? __builtin_clz(u) : 32 + __builtin_clz((uint32_t)variance)) >> 1;
    variance <<= 2 * step;
    shift = gain_shift - step;
#else
    for (shift = gain_shift; (variance >> 62) == 0; shift--)
        variance <<= 2;
#endif
    /* y = 1 / sqrt(u / 2^32) in Q30: a line within 13 %, then four Newton steps */
    u = (uint32_t)(variance >> 32);
    y = 2362232013u - ((u >> 2) + (u >> 4));
    for (step = 0; step < 4; step++) {
        const uint32_t square = (uint32_t)(((uint64_t)y * y) >> 30); /* y < 2^31 */
        y = (uint32_t)(((uint64_t)y * (((uint32_t)3 << 30) - (uint32_t)(((uint64_t)u * square) >> 32))) >> 31);
    }
    r = shift < 29 ? INT32_MAX : shift > 62 ? 0 : ((uint64_t)(uint32_t)gain * y) >> shift;
    *scale = r > INT32_MAX ? INT32_MAX : (int32_t)r;
    mean_q16 = (int32_t)(((int64_t)sum * inv_n + 16384) >> 15);
    *offset = (int32_t)-(((int64_t)*scale * mean_q16) >> 32);
}
