/* The median of n <= 15 values. */
static int32_t lnn_median_of(const int16_t *x, int32_t n)
{
    int16_t sorted[15];
    int32_t i;
    if (n == 5)
        return lnn_median_five(x[0], x[1], x[2], x[3], x[4]);
    for (i = 0; i < n; i++)
        sorted[i] = x[i];
    return lnn_median(sorted, n);
}
