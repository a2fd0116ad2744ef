/* (33) One fused step of n neurons: v[i] += pull / (inertia[i] + conductance), in lo ... hi;
 * out[i] is its int16 copy, `bits` bits shorter. sums: conductance and current of each neuron. The
 * inertia is computed from the time of the step.
 * The compiler proves |v| <= 32640 2^bits and 0 <= bits + 16 - shift[i] <= 28. */
static void lnn_fused_dt_s16(const int32_t *sums, const int32_t *inertia, const uint8_t *shift,
    int32_t n, int32_t bits, int32_t lo, int32_t hi, int32_t *v, int16_t *out)
{
    const int32_t half = ((int32_t)1 << bits) >> 1;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t next = lnn_fuse(v[i], sums + 2 * i, inertia[i],
            LNN_U8(shift + i), bits);
        v[i] = lnn_clamp(next, lo, hi);
        out[i] = (int16_t)((v[i] + half) >> bits);
    }
}
