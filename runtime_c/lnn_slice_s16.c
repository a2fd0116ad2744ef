/* (17) out[i] = x[start + i]. The compiler proves start + n <= n_x. */
static void lnn_slice_s16(const int16_t *x, int32_t n_x, int32_t start, int32_t n, int16_t *out)
{
    int32_t i;
    (void)n_x;
    for (i = 0; i < n; i++)
        out[i] = x[start + i];
}
