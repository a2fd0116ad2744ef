/* out = a, then b; each part keeps its format. */
static void lnn_concat_s16(const int16_t *a, int32_t n_a, const int16_t *b, int32_t n_b,
    int16_t *out)
{
    int32_t i;
    for (i = 0; i < n_a; i++)
        out[i] = a[i];
    for (i = 0; i < n_b; i++)
        out[n_a + i] = b[i];
}
