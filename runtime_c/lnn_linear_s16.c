/* (2) out[r] = clamp(requant((bias[r] + sum_c weight[r][c] x[c]) << shift, mult[r]), lo, hi)
 * weight: [n_out][n_in] int8, bias and mult: [n_out]. bias is added first; the compiler proves
 * (|bias[r]| + sum_c |weight[r][c]| max|x|) << shift < 2^31 for each row. */
static void lnn_linear_s16(const int16_t *x, int32_t n_in, const int8_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t n_out, int32_t shift, int32_t lo,
    int32_t hi, int16_t *out)
{
    int32_t r;
    for (r = 0; r < n_out; r++, weight += n_in) {
        int32_t acc = lnn_dot_s8(x, weight, n_in, LNN_S32(bias + r));
        acc = lnn_requant(acc * ((int32_t)1 << shift), LNN_S32(mult + r));
        out[r] = (int16_t)lnn_clamp(acc, lo, hi);
    }
}
