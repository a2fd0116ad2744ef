/* out[0] = clamp(requant((bias + sum_i x[i]) << shift, mult), lo, hi): a mean, with 1/n inside
 * mult. The compiler proves (|bias| + n max|x|) << shift < 2^31. */
static void lnn_sum_s32(const int16_t *x, int32_t n, int32_t bias, int32_t mult, int32_t shift,
    int32_t lo, int32_t hi, int32_t *out)
{
    int32_t i, acc = bias;
    for (i = 0; i < n; i++)
        acc += x[i];
    out[0] = lnn_clamp(lnn_requant(acc * ((int32_t)1 << shift), mult), lo, hi);
}
