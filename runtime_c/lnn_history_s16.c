/* (40) Drops the n oldest values and appends x. Where nothing was seen yet, x[0] stands for all that
 * was before. */
static void lnn_history_s16(const int16_t *x, int32_t n, int16_t *past, int32_t length, int16_t *seen)
{
    int32_t i;
    if (seen[0] == 0)
        for (i = 0; i < length; i++)
            past[i] = x[0];
    for (i = 0; i < length - n; i++)
        past[i] = past[i + n];
    for (i = 0; i < n; i++)
        past[length - n + i] = x[i];
    seen[0] = 1;
}
