/* (11) One Euler step of a liquid neuron: out[i] = clamp((decay[i] x[i] + gain[i] tanh(pre[i] +
 * drive) + half) >> shift, lo, hi), decay = 1 - dt alpha and gain = dt beta in Q(shift), summed in
 * 64 bits. x is not touched unless out is x. */
static void lnn_euler_s16(const int16_t *x, const int32_t *pre, int32_t drive, int32_t n,
    const int16_t *table, const int32_t *decay, const int32_t *gain, int32_t shift, int32_t lo,
    int32_t hi, int16_t *out)
{
    const int64_t half = (int64_t)1 << (shift - 1);
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t value = lnn_tanh_q15(pre[i] + drive, table);
        int64_t sum = (int64_t)LNN_S32(decay + i) * x[i] + (int64_t)LNN_S32(gain + i) * value;
        out[i] = (int16_t)lnn_clamp((int32_t)((sum + half) >> shift), lo, hi);
    }
}
