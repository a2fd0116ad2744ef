/* Element (n - 1) / 2 of v in order; sorts v by insertion. */
static int32_t lnn_median(int16_t *v, int32_t n)
{
    int32_t i, j;
    for (i = 1; i < n; i++) {
        const int16_t value = v[i];
        for (j = i; j > 0 && v[j - 1] > value; j--)
            v[j] = v[j - 1];
        v[j] = value;
    }
    return v[(n - 1) >> 1];
}
