/* (8) tanh of a Q16 argument, Q15: linear interpolation of the odd half-table on [0, 8), 256
 * segments. Arguments beyond +-8 saturate: tanh(8) is one to 22 bits. |arg| < 2^31. */
LNN_FAST int32_t lnn_tanh_q15(int32_t arg, const int16_t *table)
{
    int32_t size = arg < 0 ? -arg : arg;
    const int16_t *knot;
    int32_t low, rise, value;
#if LNN_PATH > 0
    __asm__("usat %0, #19, %0" : "+r"(size));
#else
    size = lnn_clamp(size, 0, 524287);
#endif
    knot = table + (size >> 11);
    low = LNN_S16(knot);
    rise = LNN_S16(knot + 1) - low;
    value = low + ((rise * (size & 2047) + 1024) >> 11);
    return arg < 0 ? -value : value;
}
