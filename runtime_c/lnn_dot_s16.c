/* acc + sum_c weight[c] x[c] over n columns of one row with int16 weights; no partial sum leaves
 * int32. */
LNN_INLINE int32_t lnn_dot_s16(const int16_t *x, const int16_t *weight, int32_t n, int32_t acc)
{
    const int16_t *const whole = x + (n & ~(int32_t)3), *const end = x + n;
    for (; x != whole; x += 4, weight += 4) {
#if LNN_PATH > 0
        const int32_t x01 = LNN_LOAD(x), x23 = LNN_LOAD(x + 2);
        const int32_t w01 = LNN_LOAD(weight), w23 = LNN_LOAD(weight + 2);
        acc = __smlad(w23, x23, __smlad(w01, x01, acc));
#else
        acc += (int32_t)LNN_S16(weight) * x[0] + (int32_t)LNN_S16(weight + 1) * x[1];
        acc += (int32_t)LNN_S16(weight + 2) * x[2] + (int32_t)LNN_S16(weight + 3) * x[3];
#endif
    }
    for (; x != end; x++, weight++)
        acc += (int32_t)LNN_S16(weight) * *x;
    return acc;
}
