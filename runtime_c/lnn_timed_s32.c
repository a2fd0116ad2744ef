/* (23) Argument of a time gate: out[i] = clamp(((a[i] dt + half) >> shift) + (b[i] << up), lo, hi)
 * in 64 bits. |a|, |b| <= 2^29, 1 <= dt <= 2^30. out may be b. */
static void lnn_timed_s32(const int32_t *a, const int32_t *b, int32_t dt, int32_t n, int32_t shift,
    int32_t up, int32_t lo, int32_t hi, int32_t *out)
{
    const int64_t half = ((int64_t)1 << shift) >> 1;
    int32_t i;
    for (i = 0; i < n; i++) {
        int64_t sum = (((int64_t)a[i] * dt + half) >> shift) + b[i] * ((int64_t)1 << up);
        out[i] = sum < lo ? lo : sum > hi ? hi : (int32_t)sum;
    }
}
