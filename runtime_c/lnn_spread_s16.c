/* (27) out[b] = median of |x - median x| over block b of `length` (odd) values, at most 32,640. */
static void lnn_spread_s16(const int16_t *x, int32_t length, int32_t n, int16_t *out)
{
    int32_t b, i;
    for (b = 0; b < n; b++, x += length) {
        const int32_t middle = lnn_median_of(x, length);
        int16_t away[15];
        for (i = 0; i < length; i++) {
            const int32_t d = x[i] < middle ? middle - x[i] : x[i] - middle;
            away[i] = (int16_t)(d < 32640 ? d : 32640);
        }
        out[b] = (int16_t)lnn_median_of(away, length);
    }
}
