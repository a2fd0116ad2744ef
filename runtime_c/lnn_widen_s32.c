/* (28) An int16 state with `shift` more fraction bits: out[i] = x[i] << shift, |out| < 2^31. */
static void lnn_widen_s32(const int16_t *x, int32_t n, int32_t shift, int32_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = x[i] * ((int32_t)1 << shift);
}
