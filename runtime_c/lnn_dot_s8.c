/* acc + sum_c weight[c] x[c] over n columns of one row; no partial sum leaves int32. */
LNN_INLINE int32_t lnn_dot_s8(const int16_t *x, const int8_t *weight, int32_t n, int32_t acc)
{
    const int16_t *const whole = x + (n & ~(int32_t)3), *const end = x + n;
    for (; x != whole; x += 4, weight += 4) {
#if LNN_PATH > 0
        /* SXTB16 widens bytes 0 and 2, turned by a byte 1 and 3; SMLAxy multiplies halves */
        const int32_t x01 = LNN_LOAD(x), x23 = LNN_LOAD(x + 2), w = LNN_LOAD(weight);
        const int32_t w02 = __sxtb16(w), w13 = lnn_pair_s8(0, w);
        acc = __smlabt(w13, x01, __smlabb(w02, x01, acc));
        acc = __smlatt(w13, x23, __smlatb(w02, x23, acc));
#else
        acc += (int32_t)LNN_S8(weight) * x[0] + (int32_t)LNN_S8(weight + 1) * x[1];
        acc += (int32_t)LNN_S8(weight + 2) * x[2] + (int32_t)LNN_S8(weight + 3) * x[3];
#endif
    }
    for (; x != end; x++, weight++)
        acc += (int32_t)LNN_S8(weight) * *x;
    return acc;
}
