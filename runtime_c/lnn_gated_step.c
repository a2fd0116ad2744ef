/* One step of gated_s16, from z = [h; x] to the new h. Alone: its loops need all registers. */
#if defined(__GNUC__)
__attribute__((noinline))
#endif
static void lnn_gated_step(const int16_t *z, int32_t cols, const int16_t *weight, const int32_t *bias,
    const int32_t *mult, int32_t shift, const int16_t *table, int32_t n, int16_t *h)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t g = LNN_S32(bias + 2 * i), c = LNN_S32(bias + 2 * i + 1);
        weight = lnn_pairs_s16(z, weight, cols, &g, &c);
        g = lnn_requant(g * ((int32_t)1 << shift), LNN_S32(mult + 2 * i));
        c = lnn_requant(c * ((int32_t)1 << shift), LNN_S32(mult + 2 * i + 1));
        g = (32769 + lnn_tanh_q15(g, table)) >> 1;
        c = z[i] + (((lnn_tanh_q15(c, table) - z[i]) * g + 16384) >> 15);
        h[i] = (int16_t)lnn_clamp(c, -32640, 32640);
    }
}
