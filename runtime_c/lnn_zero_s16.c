/* out[i] = 0 */
static void lnn_zero_s16(int32_t n, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = 0;
}
