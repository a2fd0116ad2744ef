/* (45) A layer of n_out rows over n_in values of a series, at `count` places, `hop` values apart; the last
 * place ends at the series' end, and x[0] stands for what was before it. out: [count][n_out], each
 * clamp(requant((bias[r] + sum of weight[r][c] x[...]) << shift, mult[r]), lo, hi); n_in <= 16. */
static void lnn_slide_s16(const int16_t *x, int32_t length, int32_t n_in, int32_t hop, int32_t count,
    const int16_t *weight, const int32_t *bias, const int32_t *mult, int32_t n_out, int32_t shift,
    int32_t lo, int32_t hi, int16_t *out)
{
    int32_t from = length - n_in - hop * (count - 1), c;
    for (; count > 0; count--, from += hop, out += n_out) {
        int16_t seen[16];
        for (c = 0; c < n_in; c++)
            seen[c] = x[from + c > 0 ? from + c : 0];
        lnn_linear_w16_s16(seen, n_in, weight, bias, mult, n_out, shift, lo, hi, out);
    }
}
