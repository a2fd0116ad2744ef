/* (15) out[i] = clamp(requant(a[i] b[i], mult), lo, hi). b may be a, and out may be a. */
static void lnn_mul_s16(const int16_t *a, const int16_t *b, int32_t n, int32_t mult, int32_t lo,
    int32_t hi, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = (int16_t)lnn_clamp(lnn_requant((int32_t)a[i] * b[i], mult), lo, hi);
}
