/* (29) Drops the n oldest values and appends x. A history that has seen nothing begins with -32,768:
 * x[0] stands for all that was before. */
static void lnn_history_s16(const int16_t *x, int32_t n, int16_t *past, int32_t length)
{
    int32_t i;
    if (past[0] == -32768)
        for (i = 0; i < length; i++)
            past[i] = x[0];
    for (i = 0; i < length - n; i++)
        past[i] = past[i + n];
    for (i = 0; i < n; i++)
        past[length - n + i] = x[i];
}
