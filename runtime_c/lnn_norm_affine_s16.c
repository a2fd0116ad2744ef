/* (7b) LayerNorm with gamma: z = unit (x[i] - mean) / sigma, out[i] = clamp(((z gamma[i] >> 16) +
 * (beta[i] << beta_shift) + half) >> shift, lo, hi). out may be x. */
static void lnn_norm_affine_s16(const int16_t *x, int32_t n, int32_t inv_n, int32_t eps,
    int32_t eps_shift, int32_t gain, int32_t gain_shift, const int16_t *gamma,
    const int16_t *beta, int32_t beta_shift, int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    const int16_t *const end = x + n;
    int32_t scale, offset;
    lnn_norm_stats(x, n, inv_n, eps, eps_shift, gain, gain_shift, &scale, &offset);
#if LNN_PATH > 0
    if (beta_shift < 15) { /* 2^beta_shift in 16 bits: SMLABB, SMLAWB and their like */
        const int16_t *const pairs = x + (n & ~(int32_t)1);
        const int32_t power = 1 << beta_shift, slope = scale, start = offset;
        for (; x != pairs; x += 2, gamma += 2, beta += 2, out += 2) {
            const int32_t both = LNN_LOAD(x), b = LNN_LOAD(beta), g = LNN_LOAD(gamma);
            int32_t low = __smlawb(slope, both, start), high = __smlawt(slope, both, start);
            low = __smlawb(low, g, __smlabb(b, power, half));
            high = __smlawt(high, g, __smlatb(b, power, half));
            LNN_STORE(out, lnn_clamp_pair(low >> shift, high >> shift, lo, hi));
        }
    }
#endif
    for (; x != end; x++, gamma++, beta++, out++) {
        int32_t shifted = LNN_S16(beta) * ((int32_t)1 << beta_shift) + half;
        int32_t value = lnn_smlaw(lnn_smlaw(scale, *x, offset), LNN_S16(gamma), shifted);
        *out = (int16_t)lnn_clamp(value >> shift, lo, hi);
    }
}
