/* (13) out[i] = clamp((exp_q15(arg[i] << up) + 2^(shift-1)) >> shift, lo, hi), arg = -x >= 0 */
static void lnn_exp_s16(const int32_t *arg, int32_t n, int32_t up, const int16_t *table,
    int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t value = lnn_exp_q15(arg[i] * ((int32_t)1 << up), table);
        out[i] = (int16_t)lnn_clamp((value + half) >> shift, lo, hi);
    }
}
