/* (29) The int16 copy of an int32 state: out[i] = clamp((x[i] + half) >> shift, lo, hi).
 * |x| <= 32,640 * 2^16 and shift <= 16: the sum fits int32. */
static void lnn_narrow_s16(const int32_t *x, int32_t n, int32_t shift, int32_t lo, int32_t hi,
    int16_t *out)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = (int16_t)lnn_clamp((x[i] + half) >> shift, lo, hi);
}
