/* (14) out[r] = clamp(requant((bias[r] + sum_k weight[k] x[column[k]]) << shift, mult[r]), lo, hi),
 * k over the count[r] weights of row r that are not zero. column: below n_in; weight: int8, [nnz].
 * The sums are those of linear_s16, and so is the proof that they fit. */
static void lnn_sparse_s16(const int16_t *x, int32_t n_in, const uint8_t *count,
    const uint8_t *column, const int8_t *weight, int32_t nnz, const int32_t *bias,
    const int32_t *mult, int32_t n_out, int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    int32_t r;
    (void)n_in;
    (void)nnz;
    for (r = 0; r < n_out; r++) {
        int32_t acc = LNN_S32(bias + r);
        uint8_t left = LNN_U8(count + r);
        for (; left > 0; left--, column++, weight++)
            acc += (int32_t)LNN_S8(weight) * x[LNN_U8(column)];
        acc = lnn_requant(acc * ((int32_t)1 << shift), LNN_S32(mult + r));
        out[r] = (int16_t)lnn_clamp(acc, lo, hi);
    }
}
