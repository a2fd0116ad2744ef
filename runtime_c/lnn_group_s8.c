/* Adds the products of four columns to the sums of four rows; weight: the group's 16 bytes. */
LNN_INLINE void lnn_group_s8(const int16_t *x, const int8_t *weight, uint32_t *acc)
{
#if LNN_PATH > 0
    const int32_t x0 = LNN_LOAD(x), x2 = LNN_LOAD(x + 2);
    const int32_t w0 = LNN_LOAD(weight), w1 = LNN_LOAD(weight + 4);
    const int32_t w2 = LNN_LOAD(weight + 8), w3 = LNN_LOAD(weight + 12);
    LNN_FENCE();
    acc[0] = (uint32_t)__smlad(__sxtab16(x0, w0), lnn_pair_s8(x2, w0), (int32_t)acc[0]);
    acc[1] = (uint32_t)__smlad(__sxtab16(x0, w1), lnn_pair_s8(x2, w1), (int32_t)acc[1]);
    acc[2] = (uint32_t)__smlad(__sxtab16(x0, w2), lnn_pair_s8(x2, w2), (int32_t)acc[2]);
    acc[3] = (uint32_t)__smlad(__sxtab16(x0, w3), lnn_pair_s8(x2, w3), (int32_t)acc[3]);
    LNN_FENCE();
#else
    acc[0] = lnn_quad_s8(x, weight, acc[0]);
    acc[1] = lnn_quad_s8(x, weight + 4, acc[1]);
    acc[2] = lnn_quad_s8(x, weight + 8, acc[2]);
    acc[3] = lnn_quad_s8(x, weight + 12, acc[3]);
#endif
}
