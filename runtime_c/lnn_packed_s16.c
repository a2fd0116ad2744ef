/* (2) As linear_s16, the weights packed for Winograd's identity: blocks of four rows, see
 * block_s8; zeros fill the last one. bias holds b[r] less the sum of w0 w2 + w1 w3 of the row. Sums
 * wrap on the way; what they end at fits, as the compiler proves of linear_s16. */
LNN_APART static void lnn_packed_s16(const int16_t *x, int32_t n_in, const int8_t *weight,
    const int32_t *bias, const int32_t *mult, int32_t n_out, int32_t blocks, int32_t shift,
    int32_t lo, int32_t hi, int16_t *out)
{
    const uint32_t cross = lnn_cross_s16(x, n_in);
#if LNN_PATH > 1
    const uint32_t groups = (uint32_t)n_in >> 2, skip = (0u - groups) & 3u;
    lnn_sweep layer;
    layer.from = (uint32_t)(uintptr_t)x - 8u - 8u * skip;
    layer.to = (uint32_t)(uintptr_t)x - 8u + 8u * groups;
    layer.entry = groups ? 60u * skip : 244u;
    layer.skipped = 16u * skip;
    layer.cross = cross;
    layer.special = ((uint32_t)n_in & 3u) + ((uint32_t)shift << 8);
    layer.bias = bias;
    layer.mult = mult;
    layer.left = n_out;
    layer.out = out;
    layer.lo2 = lo * 65536 + (uint16_t)lo;
    layer.hi2 = hi * 65536 + (uint16_t)hi;
    lnn_sweep_s16(&layer, weight);
    (void)blocks;
#else
    int32_t left;
    (void)blocks;
    for (left = n_out; left > 0; left -= 4, bias += 4, mult += 4, out += 4) {
        int32_t value[4];
        weight = lnn_block_s8(x, n_in, weight, bias, cross, mult, shift, value);
#if LNN_PATH > 0
        if (left >= 4) {
            LNN_STORE(out, lnn_clamp_pair(value[0], value[1], lo, hi));
            LNN_STORE(out + 2, lnn_clamp_pair(value[2], value[3], lo, hi));
            continue;
        }
#endif
        out[0] = (int16_t)lnn_clamp(value[0], lo, hi);
        if (left > 1)
            out[1] = (int16_t)lnn_clamp(value[1], lo, hi);
        if (left > 2)
            out[2] = (int16_t)lnn_clamp(value[2], lo, hi);
        if (left > 3)
            out[3] = (int16_t)lnn_clamp(value[3], lo, hi);
    }
#endif
}
