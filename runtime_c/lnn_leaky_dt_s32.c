/* (27) As (26), with the change times (dt << norm) / 2^32, rounded, before it is shifted up:
 * decay and gain are those of the time that dt << norm = 2^32 would stand for. */
static void lnn_leaky_dt_s32(int32_t *x, const int32_t *pre, const int32_t *drive, int32_t n,
    const int16_t *table, const int32_t *decay, const int32_t *gain, int32_t dt, int32_t norm,
    int32_t up, int32_t lo, int32_t hi, int32_t shift, int16_t *out)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    const int32_t part = dt * ((int32_t)1 << norm);
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t value = lnn_tanh_q15(lnn_clamp(pre[i] + drive[i], -524287, 524287), table);
        int32_t change = lnn_requant(value * 65536, LNN_S32(gain + i))
            - lnn_requant(x[i], LNN_S32(decay + i));
        x[i] = lnn_clamp(x[i] + lnn_requant(change, part) * ((int32_t)1 << up), lo, hi);
        out[i] = (int16_t)((x[i] + half) >> shift);
    }
}
