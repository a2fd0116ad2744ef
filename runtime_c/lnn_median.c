/* Element (n - 1) / 2 of v in order. Sorts by insertion what is not above it; v is lost. */
static int32_t lnn_median(int16_t *v, int32_t n)
{
    const int32_t middle = (n - 1) >> 1;
    int32_t i, j;
    for (i = 1; i < n; i++) {
        const int16_t value = v[i];
        j = i < middle ? i : middle;
        if (i > middle && value >= v[middle])
            continue;
        for (; j > 0 && v[j - 1] > value; j--)
            v[j] = v[j - 1];
        v[j] = value;
    }
    return v[middle];
}
