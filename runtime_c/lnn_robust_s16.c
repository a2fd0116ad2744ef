/* (39) out[b] = mean of block b of `length` values clipped to middle[b] +- factor * mad, mad the lower
 * median of k <= 64 spreads. mult = 2^32 / length; within +-32,640. */
static void lnn_robust_s16(const int16_t *x, int32_t length, int32_t n, const int16_t *middle,
    const int16_t *spreads, int32_t k, int32_t factor, int32_t mult, int16_t *out)
{
    int16_t sorted[64];
    int32_t b, i, reach;
    for (i = 0; i < k; i++)
        sorted[i] = spreads[i];
    reach = factor * lnn_median(sorted, k);
    for (b = 0; b < n; b++) {
        const int32_t least = middle[b] - reach, most = middle[b] + reach;
        int32_t sum = 0;
        for (i = 0; i < length; i++)
            sum += lnn_clamp(*x++, least, most);
        sum = length > 1 ? lnn_requant(sum, mult) : sum;
        out[b] = (int16_t)lnn_clamp(sum, -32640, 32640);
    }
}
