/* acc[i] = clamp(acc[i] + requant(x[i] << shift, mult[i]), lo, hi): the diagonal of a
 * recurrence. */
static void lnn_muladd_s32(const int16_t *x, int32_t n, int32_t shift, const int32_t *mult,
    int32_t lo, int32_t hi, int32_t *acc)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t term = lnn_requant(x[i] * ((int32_t)1 << shift), LNN_S32(mult + i));
        acc[i] = lnn_clamp(acc[i] + term, lo, hi);
    }
}
