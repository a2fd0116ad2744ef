/* (26) One Euler step of a leaky cell: x[i] = clamp(x[i] + ((requant(tanh << 16, gain[i]) -
 * requant(x[i], decay[i])) << up), lo, hi) with tanh = tanh_q15(pre[i] + drive[i]), and the int16
 * copy out[i] = (x[i] + half) >> shift. |x| <= 2^30; the compiler proves that
 * the sum fits int32. */
static void lnn_leaky_s32(int32_t *x, const int32_t *pre, const int32_t *drive, int32_t n,
    const int16_t *table, const int32_t *decay, const int32_t *gain, int32_t up, int32_t lo,
    int32_t hi, int32_t shift, int16_t *out)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t value = lnn_tanh_q15(lnn_clamp(pre[i] + drive[i], -524287, 524287), table);
        int32_t change = lnn_requant(value * 65536, LNN_S32(gain + i))
            - lnn_requant(x[i], LNN_S32(decay + i));
        x[i] = lnn_clamp(x[i] + change * ((int32_t)1 << up), lo, hi);
        out[i] = (int16_t)((x[i] + half) >> shift);
    }
}
