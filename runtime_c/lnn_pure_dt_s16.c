/* (25) As (24), where the time since the last step is an argument: the exponent is
 * ((|v| + rate[i]) dt + half) >> shift, the product in 64 bits; 1 <= dt <= 2^30. */
static void lnn_pure_dt_s16(const int32_t *x, int32_t n, int32_t up, const int32_t *rate,
    int32_t dt, int32_t shift, const int16_t *table, int32_t limit, int32_t down, int32_t one,
    const int32_t *mult, int32_t lo, int32_t hi, int16_t *out)
{
    const int64_t half_time = ((int64_t)1 << shift) >> 1, half = (int64_t)1 << (down - 1);
    const int32_t most = 1073741823 >> up;
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t v = lnn_clamp(x[i], -most, most) * ((int32_t)1 << up);
        int32_t size = (v < 0 ? -v : v) + LNN_S32(rate + i);
        int64_t z = ((int64_t)size * dt + half_time) >> shift;
        int32_t decay = lnn_exp_q15(z > INT32_MAX ? INT32_MAX : (int32_t)z, table);
        int64_t product = (int64_t)decay * lnn_clamp(v, -limit, limit);
        int32_t rest = one - (int32_t)((product + half) >> down);
        out[i] = (int16_t)lnn_clamp(lnn_requant(rest, LNN_S32(mult + i)), lo, hi);
    }
}
