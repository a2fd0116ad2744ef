/* (37) Puts x behind the samples that are there, first of all where none is missing.
 * Returns how many samples still are. */
static int32_t lnn_collect_s16(const int16_t *x, int32_t n, int32_t length, int16_t *samples,
    int32_t *missing)
{
    int32_t left = missing[0] > 0 ? missing[0] * n : length, i;
    int16_t *to;
    left = left > length ? length : left;
    to = samples + (length - left);
    for (i = 0; i < n; i++)
        to[i] = x[i];
    missing[0] = left / n - 1;
    return missing[0];
}
