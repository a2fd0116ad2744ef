/* out[i] = clamp(requant((x[i] << shift) + bias[i], mult[i]), lo, hi): a scale and an offset per
 * element. The compiler proves (max|x| << shift) + |bias[i]| < 2^31. */
static void lnn_affine_s16(const int16_t *x, int32_t n, int32_t shift, const int32_t *bias,
    const int32_t *mult, int32_t lo, int32_t hi, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t acc = x[i] * ((int32_t)1 << shift) + LNN_S32(bias + i);
        out[i] = (int16_t)lnn_clamp(lnn_requant(acc, LNN_S32(mult + i)), lo, hi);
    }
}
