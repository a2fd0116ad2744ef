/* (19) out[i] = |x[i]|. out may be x. */
static void lnn_abs_s16(const int16_t *x, int32_t n, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = (int16_t)(x[i] < 0 ? -x[i] : x[i]);
}
