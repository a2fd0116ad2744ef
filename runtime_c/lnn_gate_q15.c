/* (30) Sigmoid of a synapse in Q15, 0 ... 2^15 - 1, rounded down: a closed gate is 0.
 * (slope x + offset) >> shift is half its argument in Q16, rounded by the half unit that offset
 * holds. |slope x + offset| < 2^31. */
LNN_FAST int32_t lnn_gate_q15(int32_t x, int32_t slope, int32_t offset, int32_t shift,
    const int16_t *table)
{
    return (32768 + lnn_tanh_q15((slope * x + offset) >> shift, table)) >> 1;
}
