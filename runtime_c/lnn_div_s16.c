/* (16) out[i] = clamp((a[i] << shift) / max(b[i], least), lo, hi), to the nearest, ties away from
 * zero. least > 0: no division by zero. shift <= 15: the numerator fits. out may be a. */
static void lnn_div_s16(const int16_t *a, const int16_t *b, int32_t n, int32_t least,
    int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t below = b[i] < least ? least : b[i];
        const int32_t size = (a[i] < 0 ? -a[i] : a[i]) * ((int32_t)1 << shift);
        const int32_t value = (size + (below >> 1)) / below;
        out[i] = (int16_t)lnn_clamp(a[i] < 0 ? -value : value, lo, hi);
    }
}
