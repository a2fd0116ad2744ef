/* (32) What moves a neuron: (current >> 1) less the conductance times the state v, which has `bits`
 * bits below its int16 copy: |v| < 2^(15 + bits), and both halves are at most 2^30. */
static inline int32_t lnn_pull(int32_t v, const int32_t *sums, int32_t bits)
{
    return (sums[1] >> 1) - lnn_requant(sums[0], v * ((int32_t)1 << (16 - bits)));
}
