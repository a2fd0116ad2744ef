/* (31) A minimal gated cell over `steps` rows of x: h <- h + (c - h) g, g = sigmoid(W_g [x; h] + b_g),
 * c = tanh(W_c [x; h] + b_c); g, c and h in Q15. Rows 0 ... n - 1 of the weights give half the
 * argument of g, the others that of c, in Q16. out holds the new h, then h does too.
 * |c - h| <= 65,407 and g <= 32,768: the product and its rounding fit int32. */
static void lnn_gated_s16(const int16_t *x, int32_t n_x, int32_t steps, const int16_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t shift, const int16_t *table, int32_t n,
    int16_t *h, int16_t *out)
{
    const int32_t cols = n_x + n, all = n * cols;
    int32_t i, k;
    for (; steps > 0; steps--, x += n_x) {
        const int16_t *row = weight;
        for (i = 0; i < n; i++, row += cols) {
            int32_t v[2];
            for (k = 0; k < 2; k++) {
                const int16_t *const w = row + k * all;
                int32_t acc = lnn_dot_s16(x, w, n_x, LNN_S32(bias + k * n + i));
                acc = lnn_dot_s16(h, w + n_x, n, acc);
                acc = lnn_requant(acc * ((int32_t)1 << shift), LNN_S32(mult + k * n + i));
                v[k] = lnn_tanh_q15(lnn_clamp(acc, -524287, 524287), table);
            }
            v[0] = h[i] + (((v[1] - h[i]) * ((32769 + v[0]) >> 1) + 16384) >> 15);
            out[i] = (int16_t)lnn_clamp(v[0], -32640, 32640);
        }
        for (i = 0; i < n; i++)
            h[i] = out[i];
    }
}
