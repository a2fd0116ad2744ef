/* (21) Gate of a CfC with one rounding: out[i] = clamp(requant((f1 << 15) + (f2 - f1) s, mult), lo,
 * hi), f1 = tanh(a[i]), f2 = tanh(b[i]), s = sigmoid(2 t[i]) in Q15. Arguments have 16 - up
 * fraction bits. |f| <= 32,767 and 1 <= s <= 32,768: products and sum fit int32. */
static void lnn_cfc_s16(const int32_t *a, const int32_t *b, const int32_t *t, int32_t n,
    int32_t a_up, int32_t b_up, int32_t t_up, const int16_t *table, int32_t mult, int32_t lo,
    int32_t hi, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        int32_t f1 = lnn_tanh_q15(a[i] * ((int32_t)1 << a_up), table);
        int32_t f2 = lnn_tanh_q15(b[i] * ((int32_t)1 << b_up), table);
        int32_t s = (32769 + lnn_tanh_q15(t[i] * ((int32_t)1 << t_up), table)) >> 1;
        out[i] = (int16_t)lnn_clamp(lnn_requant(f1 * 32768 + (f2 - f1) * s, mult), lo, hi);
    }
}
