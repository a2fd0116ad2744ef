/* (24) CfC in closed form, without gates: out[i] = clamp(requant(one - w, mult[i]), lo, hi) with
 * w = (exp(-(|v| + rate[i])) clamp(v, +-limit) + half) >> down and v = x[i] << up, saturated; v and
 * rate in Q16, below 2^30, the exponential in Q15. The compiler proves that one - w fits int32. */
static void lnn_pure_s16(const int32_t *x, int32_t n, int32_t up, const int32_t *rate,
    const int16_t *table, int32_t limit, int32_t down, int32_t one, const int32_t *mult, int32_t lo,
    int32_t hi, int16_t *out)
{
    const int64_t half = (int64_t)1 << (down - 1);
    const int32_t most = 1073741823 >> up;
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t v = lnn_clamp(x[i], -most, most) * ((int32_t)1 << up);
        int32_t decay = lnn_exp_q15((v < 0 ? -v : v) + LNN_S32(rate + i), table);
        int64_t product = (int64_t)decay * lnn_clamp(v, -limit, limit);
        int32_t rest = one - (int32_t)((product + half) >> down);
        out[i] = (int16_t)lnn_clamp(lnn_requant(rest, LNN_S32(mult + i)), lo, hi);
    }
}
