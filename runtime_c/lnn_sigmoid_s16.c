/* (10) out[i] = clamp((2^15 + tanh_q15(arg[i] << up) + 2^shift) >> (shift + 1), lo, hi), from
 * sigmoid(x) = (1 + tanh(x / 2)) / 2: arg holds x / 2. */
static void lnn_sigmoid_s16(const int32_t *arg, int32_t n, int32_t up, const int16_t *table,
    int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int32_t half = (int32_t)1 << shift;
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t value = 32768 + lnn_tanh_q15(arg[i] * ((int32_t)1 << up), table);
        out[i] = (int16_t)lnn_clamp((value + half) >> (shift + 1), lo, hi);
    }
}
