/* (7a) LayerNorm: out[i] = clamp((unit (x[i] - mean) / sigma + (beta[i] << beta_shift) + half) >>
 * shift, lo, hi). gamma has moved into the layer that follows. out may be x. */
static void lnn_norm_s16(const int16_t *x, int32_t n, int32_t inv_n, int32_t eps,
    int32_t eps_shift, int32_t gain, int32_t gain_shift, const int16_t *beta, int32_t beta_shift,
    int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
#if LNN_PATH > 0
    const int32_t paired = beta_shift < 15 ? n & ~(int32_t)1 : 0;
#else
    const int32_t paired = 0;
#endif
    int32_t i, scale, offset;
    lnn_norm_stats(x, n, inv_n, eps, eps_shift, gain, gain_shift, &scale, &offset);
    offset += ((int32_t)1 << shift) >> 1;
    for (i = paired; i < n; i++) { /* what has no partner; all in plain C */
        int32_t value = lnn_smlaw(scale, x[i], offset) + LNN_S16(beta + i) * ((int32_t)1 << beta_shift);
        out[i] = (int16_t)lnn_clamp(value >> shift, lo, hi);
    }
#if LNN_PATH > 0
    if (paired > 0) {
        const int16_t *const end = x + paired;
        const int32_t slope = scale, start = offset, power = 1 << beta_shift;
        do {
            LNN_STORE(out, lnn_norm_pair(LNN_LOAD(x), LNN_LOAD(beta), slope, start, power, shift, lo, hi));
            x += 2;
            beta += 2;
            out += 2;
        } while (x != end);
    }
#endif
}
