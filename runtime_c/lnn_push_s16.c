/* Drops the oldest n values of the window, appends x, and returns how many samples are missing. */
static int32_t lnn_push_s16(const int16_t *x, int32_t n, int32_t length, int16_t *window,
    int32_t *missing)
{
    int32_t i;
    for (i = 0; i < length - n; i++)
        window[i] = window[i + n];
    for (i = 0; i < n; i++)
        window[length - n + i] = x[i];
    if (missing[0] > 0)
        missing[0]--;
    return missing[0];
}
