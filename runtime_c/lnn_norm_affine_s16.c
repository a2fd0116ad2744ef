/* (7b) LayerNorm with gamma: z = unit (x[i] - mean) / sigma, out[i] = clamp(((z gamma[i] >> 16) +
 * (beta[i] << beta_shift) + half) >> shift, lo, hi). out may be x. */
static void lnn_norm_affine_s16(const int16_t *x, int32_t n, int32_t inv_n, int32_t eps,
    int32_t eps_shift, int32_t gain, int32_t gain_shift, const int16_t *gamma,
    const int16_t *beta, int32_t beta_shift, int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    int32_t i, scale, offset;
    lnn_norm_stats(x, n, inv_n, eps, eps_shift, gain, gain_shift, &scale, &offset);
    for (i = 0; i < n; i++) {
        int32_t shifted = LNN_S16(beta + i) * ((int32_t)1 << beta_shift) + half;
        int32_t value = lnn_smlaw(lnn_smlaw(scale, x[i], offset), LNN_S16(gamma + i), shifted);
        out[i] = (int16_t)lnn_clamp(value >> shift, lo, hi);
    }
}
