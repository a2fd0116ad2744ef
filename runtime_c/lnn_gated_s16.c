/* (31) A minimal gated cell over `steps` rows of x: h <- h + (c - h) g, g = sigmoid(W_g [h; x] + b_g),
 * c = tanh(W_c [h; x] + b_c); g, c and h in Q15. Rows 0 ... n - 1 of the weights give half the
 * argument of g, the others that of c, in Q16. z: room for [h; x].
 * |c - h| <= 65,407 and g <= 32,768: the product and its rounding fit int32. */
static void lnn_gated_s16(const int16_t *x, int32_t n_x, int32_t steps, const int16_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t shift, const int16_t *table, int32_t n,
    int16_t *h, int16_t *z)
{
    const int32_t cols = n + n_x;
    for (; steps > 0; steps--) {
        const int16_t *wg = weight, *wc = weight + n * cols;
        int32_t i;
        for (i = 0; i < n; i++)
            z[i] = h[i];
        for (; i < cols; i++)
            z[i] = *x++;
        for (i = 0; i < n; i++, wg += cols, wc += cols) {
            int32_t g = LNN_S32(bias + i), c = LNN_S32(bias + n + i);
            lnn_dots_s16(z, wg, wc, cols, &g, &c);
            g = lnn_requant(g * ((int32_t)1 << shift), LNN_S32(mult + i));
            c = lnn_requant(c * ((int32_t)1 << shift), LNN_S32(mult + n + i));
            g = (32769 + lnn_tanh_q15(lnn_clamp(g, -524287, 524287), table)) >> 1;
            c = lnn_tanh_q15(lnn_clamp(c, -524287, 524287), table);
            c = z[i] + (((c - z[i]) * g + 16384) >> 15);
            h[i] = (int16_t)lnn_clamp(c, -32640, 32640);
        }
    }
}
