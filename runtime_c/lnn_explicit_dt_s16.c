/* (34) One explicit Euler step of n neurons: v[i] += pull rate[i] 2^-shift, clamped to lo ... hi;
 * out[i] is its int16 copy, `bits` bits shorter. sums: conductance and current of each neuron. The
 * rate is computed from the time of the step. The compiler proves |v| <= 32640 2^bits; a change
 * saturates at 2^30. */
static void lnn_explicit_dt_s16(const int32_t *sums, const int32_t *rate, int32_t shift, int32_t n,
    int32_t bits, int32_t lo, int32_t hi, int32_t *v, int16_t *out)
{
    const int32_t most = (int32_t)1 << 30;
    const int32_t half = ((int32_t)1 << bits) >> 1;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int64_t moved = (int64_t)lnn_pull(v[i], sums + 2 * i, bits) * rate[i];
        const int64_t change = (moved + ((int64_t)1 << (shift - 1))) >> shift;
        const int32_t step = change < -most ? -most : change > most ? most : (int32_t)change;
        v[i] = lnn_clamp(v[i] + step, lo, hi);
        out[i] = (int16_t)((v[i] + half) >> bits);
    }
}
