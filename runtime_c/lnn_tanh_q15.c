/* (8) tanh of a Q16 argument, Q15: linear interpolation of the odd half-table on [0, 8), 256
 * segments. Arguments beyond +-8 saturate: tanh(8) is one to 22 bits. |arg| < 2^31. */
LNN_FAST int32_t lnn_tanh_q15(int32_t arg, const int16_t *table)
{
    const int32_t size = lnn_clamp(arg < 0 ? -arg : arg, 0, 524287);
    const int16_t *knot = table + (size >> 11);
    const int32_t low = LNN_S16(knot);
    const int32_t rise = LNN_S16(knot + 1) - low;
    const int32_t value = low + ((rise * (size & 2047) + 1024) >> 11);
    return arg < 0 ? -value : value;
}
