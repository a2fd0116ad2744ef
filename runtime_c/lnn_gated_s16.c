/* (42) A minimal gated cell over `steps` rows of x: h <- h + (c - h) g, g = sigmoid(W_g [h; x] + b_g),
 * c = tanh(W_c [h; x] + b_c); g, c and h in Q15. The weights give half the argument of g, and that of c,
 * in Q16; they lie as pairs_s16 reads them, bias and mult of g and c in turn. z: room for [h; x] and
 * `pad` zeros, which make fours of it. |c - h| <= 65,407 and g <= 32,768: all fits int32. */
static void lnn_gated_s16(const int16_t *x, int32_t n_x, int32_t steps, const int16_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t shift, const int16_t *table, int32_t n,
    int32_t pad, int16_t *h, int16_t *z)
{
    const int32_t cols = n + n_x + pad;
    int32_t i;
    for (; steps > 0; steps--) {
        for (i = 0; i < n; i++)
            z[i] = h[i];
        for (; i < n + n_x; i++)
            z[i] = *x++;
        for (; i < cols; i++)
            z[i] = 0;
        lnn_gated_step(z, cols, weight, bias, mult, shift, table, n, h);
    }
}
