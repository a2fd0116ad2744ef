/* (2) As linear_s16, with int16 weights: [n_out][n_in]. The compiler proves the same of each row,
 * so sum_c |weight[r][c]| stays below 65,794 for inputs of full range. */
static void lnn_linear_w16_s16(const int16_t *x, int32_t n_in, const int16_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t n_out, int32_t shift, int32_t lo,
    int32_t hi, int16_t *out)
{
    int32_t r;
    for (r = 0; r < n_out; r++, weight += n_in) {
        int32_t acc = lnn_dot_s16(x, weight, n_in, LNN_S32(bias + r));
        acc = lnn_requant(acc * ((int32_t)1 << shift), LNN_S32(mult + r));
        out[r] = (int16_t)lnn_clamp(acc, lo, hi);
    }
}
