/* (32) out[t] = clamp((v + anchor 2^up + half) >> shift, lo, hi), v = sum of x[j] s^j with
 * s = (start + t step) / 2^32 in [-1/2, 1/2], by Horner's rule. |x[j]| <= 2^28: |v| < 2^29. */
static void lnn_poly_s16(const int32_t *x, int32_t n, const int16_t *anchor, int32_t up,
    int32_t start, int32_t step, int32_t length, int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int32_t base = anchor[0] * ((int32_t)1 << up) + (((int32_t)1 << shift) >> 1);
    int32_t t, j, place = start;
    for (t = 0; t < length; t++) {
        int32_t value = x[n - 1];
        for (j = n - 2; j >= 0; j--)
            value = x[j] + lnn_requant(value, place);
        out[t] = (int16_t)lnn_clamp((value + base) >> shift, lo, hi);
        place = t + 1 < length ? place + step : place;
    }
}
