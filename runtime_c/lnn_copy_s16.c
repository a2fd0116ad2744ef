/* out[i] = x[i]: commits the next state of a recurrence. */
static void lnn_copy_s16(const int16_t *x, int32_t n, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = x[i];
}
