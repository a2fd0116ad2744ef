/* (18) out[i] = x[index[i]]. The compiler proves index[i] < n_x. */
static void lnn_gather_s16(const int16_t *x, int32_t n_x, const int16_t *index, int32_t n,
    int16_t *out)
{
    int32_t i;
    (void)n_x;
    for (i = 0; i < n; i++)
        out[i] = x[LNN_S16(index + i)];
}
