#if LNN_PATH == 0
/* sum and four columns of one row by Winograd's identity: (x0 + w2)(x2 + w0) + (x1 + w3)(x3 + w1).
 * The bytes of a group are w2, w0, w3, w1. |x| <= 32640 = 32767 - 127: brackets fit 16 bits. */
LNN_INLINE uint32_t lnn_quad_s8(const int16_t *x, const int8_t *weight, uint32_t sum)
{
    const int32_t a = x[0] + LNN_S8(weight), b = x[2] + LNN_S8(weight + 1);
    const int32_t c = x[1] + LNN_S8(weight + 2), d = x[3] + LNN_S8(weight + 3);
    return sum + (uint32_t)(a * b) + (uint32_t)(c * d);
}
#endif
