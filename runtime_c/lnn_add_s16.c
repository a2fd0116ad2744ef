/* (3) out[i] = clamp((a_gain a[i] + b_gain b[i] + 2^(shift-1)) >> shift, lo, hi), summed in 64
 * bits. out may be a. */
static void lnn_add_s16(const int16_t *a, const int16_t *b, int32_t n, int32_t a_gain,
    int32_t b_gain, int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int64_t half = ((int64_t)1 << shift) >> 1;
    int32_t i;
    for (i = 0; i < n; i++) {
        int64_t sum = (int64_t)a_gain * a[i] + (int64_t)b_gain * b[i];
        sum = (sum + half) >> shift;
        if (shift > 16) /* it fits 32 bits */
            out[i] = (int16_t)lnn_clamp((int32_t)sum, lo, hi);
        else
            out[i] = (int16_t)(sum < lo ? lo : sum > hi ? hi : (int32_t)sum);
    }
}
