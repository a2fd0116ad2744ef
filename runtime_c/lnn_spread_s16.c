/* (38) middle[b] = median of block b of `length` (odd) values, out[b] = median of |x - middle[b]| there, at
 * most 32,640. */
static void lnn_spread_s16(const int16_t *x, int32_t length, int32_t n, int16_t *out, int16_t *middle)
{
    int32_t b, i;
    for (b = 0; b < n; b++, x += length) {
        int16_t sorted[15];
        int32_t m, spread;
        if (length == 5) {
            spread = lnn_spread_five(x, &m);
        } else {
            for (i = 0; i < length; i++)
                sorted[i] = x[i];
            m = lnn_median(sorted, length);
            for (i = 0; i < length; i++) {
                const int32_t d = x[i] < m ? m - x[i] : x[i] - m;
                sorted[i] = (int16_t)(d < 32640 ? d : 32640);
            }
            spread = lnn_median(sorted, length);
        }
        middle[b] = (int16_t)m;
        out[b] = (int16_t)(spread < 32640 ? spread : 32640);
    }
}
