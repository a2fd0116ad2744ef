/* (7a) LayerNorm: out[i] = clamp((unit (x[i] - mean) / sigma + (beta[i] << beta_shift) + half) >>
 * shift, lo, hi). gamma has moved into the layer that follows. out may be x. */
static void lnn_norm_s16(const int16_t *x, int32_t n, int32_t inv_n, int32_t eps,
    int32_t eps_shift, int32_t gain, int32_t gain_shift, const int16_t *beta, int32_t beta_shift,
    int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int16_t *const end = x + n;
    int32_t scale, offset;
    lnn_norm_stats(x, n, inv_n, eps, eps_shift, gain, gain_shift, &scale, &offset);
    offset += ((int32_t)1 << shift) >> 1;
#if LNN_PATH > 0
    if (n > 3 && beta_shift < 15) {
        const int16_t *const fours = x + (n & ~(int32_t)3);
        const int32_t slope = scale, start = offset, power = 1 << beta_shift;
        do {
            const int32_t a = LNN_LOAD(x), b = LNN_LOAD(beta);
            LNN_STORE(out, lnn_norm_pair(a, b, slope, start, power, shift, lo, hi));
            LNN_STORE(out + 2, lnn_norm_pair(LNN_LOAD(x + 2), LNN_LOAD(beta + 2), slope, start, power, shift, lo, hi));
            x += 4;
            beta += 4;
            out += 4;
        } while (x != fours);
    }
#endif
    for (; x != end; x++, beta++, out++) {
        int32_t value = lnn_smlaw(scale, *x, offset);
        value += LNN_S16(beta) * ((int32_t)1 << beta_shift);
        *out = (int16_t)lnn_clamp(value >> shift, lo, hi);
    }
}
