/* Four rows of a packed layer without their bounds: value[k] = requant((bias[k] - cross + sum_c
 * weight[k][c] x[c]) << shift, mult[k]). Returns where the next block begins: after the groups of
 * four columns, 16 bytes each, come the columns that are left, four bytes each. */
LNN_INLINE const int8_t *lnn_block_s8(const int16_t *x, int32_t n, const int8_t *weight,
    const int32_t *bias, uint32_t cross, const int32_t *mult, int32_t shift, int32_t *value)
{
    const int16_t *const whole = x + (n & ~(int32_t)3);
    const int16_t *const end = x + n;
    uint32_t acc[4];
    acc[0] = (uint32_t)LNN_S32(bias) - cross;
    acc[1] = (uint32_t)LNN_S32(bias + 1) - cross;
    acc[2] = (uint32_t)LNN_S32(bias + 2) - cross;
    acc[3] = (uint32_t)LNN_S32(bias + 3) - cross;
#if LNN_PATH > 0
    const int16_t *const by16 = x + (n & ~(int32_t)15);
    LNN_FORGET(weight);
    for (; x != by16; x += 16, weight += 64) {
        lnn_group_s8(x, weight, acc);
        lnn_group_s8(x + 4, weight + 16, acc);
        lnn_group_s8(x + 8, weight + 32, acc);
        lnn_group_s8(x + 12, weight + 48, acc);
    }
#endif
    for (; x != whole; x += 4, weight += 16)
        lnn_group_s8(x, weight, acc);
    for (; x != end; x++, weight += 4) {
        acc[0] += (uint32_t)((int32_t)LNN_S8(weight) * *x);
        acc[1] += (uint32_t)((int32_t)LNN_S8(weight + 1) * *x);
        acc[2] += (uint32_t)((int32_t)LNN_S8(weight + 2) * *x);
        acc[3] += (uint32_t)((int32_t)LNN_S8(weight + 3) * *x);
    }
    value[0] = lnn_requant((int32_t)(acc[0] << shift), LNN_S32(mult));
    value[1] = lnn_requant((int32_t)(acc[1] << shift), LNN_S32(mult + 1));
    value[2] = lnn_requant((int32_t)(acc[2] << shift), LNN_S32(mult + 2));
    value[3] = lnn_requant((int32_t)(acc[3] << shift), LNN_S32(mult + 3));
    return weight;
}
