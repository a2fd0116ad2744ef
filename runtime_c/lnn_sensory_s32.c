/* (31) Conductance g and current c that arrive at each of n neurons: out[2i] and out[2i + 1]. The
 * sums begin with `start`, constants in flash. Neuron i has the next
 * count[i] of m synapses; synapse k reads one of the n_x values of x, x[pre[k]], and adds
 * conductance[k] s and current[k] s, s its gate (30) in Q15. The compiler proves that
 * |start| + 2^15 sum |weight| < 2^31, and |slope[k]| max|x| + |offset[k]| < 2^31. */
static void lnn_sensory_s32(const int16_t *x, int32_t n_x, const uint8_t *pre,
    const int16_t *slope, const int32_t *offset, const int16_t *conductance,
    const int16_t *current, int32_t m, const int16_t *count, int32_t n, const int16_t *table,
    int32_t shift, int32_t lo, int32_t hi, const int32_t *start, int32_t *out)
{
    int32_t i, k = 0;
    (void)n_x;
    (void)m;
    for (i = 0; i < n; i++) {
        const int32_t end = k + LNN_S16(count + i);
        int32_t g = LNN_S32(start + 2 * i);
        int32_t c = LNN_S32(start + 2 * i + 1);
        for (; k < end; k++) {
            const int32_t s = lnn_gate_q15(x[LNN_U8(pre + k)], LNN_S16(slope + k),
                LNN_S32(offset + k), shift, table);
            g += LNN_S16(conductance + k) * s;
            c += LNN_S16(current + k) * s;
        }
        out[2 * i] = lnn_clamp(g, lo, hi);
        out[2 * i + 1] = lnn_clamp(c, lo, hi);
    }
}
