/* (12) exp(-z) of a Q16 argument, Q15: linear interpolation of a falling table on [0, 16), 256
 * segments. z below 0 counts as 0; beyond 16 the result is 0. */
LNN_FAST int32_t lnn_exp_q15(int32_t z, const int16_t *table)
{
    const int32_t size = lnn_clamp(z, 0, 1048575);
    const int16_t *knot = table + (size >> 12);
    const int32_t low = LNN_S16(knot);
    const int32_t rise = LNN_S16(knot + 1) - low;
    return low + ((rise * (size & 4095) + 2048) >> 12);
}
