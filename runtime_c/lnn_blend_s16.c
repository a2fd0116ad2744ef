/* (20) A gate between two tensors of one format: out[i] = clamp(requant((a[i] << 14) +
 * (b[i] - a[i]) t[i], mult), lo, hi) with t in Q14, 0 ... 2^14. |b - a| <= 65,280: the products
 * fit int32. */
static void lnn_blend_s16(const int16_t *a, const int16_t *b, const int16_t *t, int32_t n,
    int32_t mult, int32_t lo, int32_t hi, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t acc = a[i] * (int32_t)16384 + ((int32_t)b[i] - a[i]) * t[i];
        out[i] = (int16_t)lnn_clamp(lnn_requant(acc, mult), lo, hi);
    }
}
