/* (2) As packed_s16, keeping 32 bits: the arguments of a table or of a liquid neuron. */
static void lnn_packed_s32(const int16_t *x, int32_t n_in, const int8_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t n_out, int32_t blocks, int32_t shift,
    int32_t lo, int32_t hi, int32_t *out)
{
    const uint32_t cross = lnn_cross_s16(x, n_in);
    int32_t left;
    (void)blocks;
    for (left = n_out; left > 0; left -= 4, bias += 4, mult += 4, out += 4) {
        int32_t value[4];
        weight = lnn_block_s8(x, n_in, weight, bias, cross, mult, shift, value);
        out[0] = lnn_clamp(value[0], lo, hi);
        if (left > 1)
            out[1] = lnn_clamp(value[1], lo, hi);
        if (left > 2)
            out[2] = lnn_clamp(value[2], lo, hi);
        if (left > 3)
            out[3] = lnn_clamp(value[3], lo, hi);
    }
}
