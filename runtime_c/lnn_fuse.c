/* (33) The state of one neuron after a fused step, before it is clamped: v + pull / (inertia +
 * conductance). The quotient's last `more` bits come from a second division, of the remainder:
 * both stay in 32 bits, and the divisor is between 1 and 2^(30 - more). */
static int32_t lnn_fuse(int32_t v, const int32_t *sums, int32_t inertia, int32_t shift,
    int32_t bits)
{
    const int32_t more = bits + 16 - shift;
    const int32_t unit = (int32_t)1 << more;
    const int32_t limit = ((int32_t)1 << 30) >> more;
    const int32_t pull = lnn_pull(v, sums, bits);
    const int32_t flow = ((sums[0] >> (shift - 1)) + 1) >> 1;
    const int32_t below = lnn_clamp(flow + inertia, 1, limit);
    const int32_t whole = pull / below;
    const int32_t rest = (pull - whole * below) * unit;
    const int32_t part = (rest < 0 ? rest - (below >> 1) : rest + (below >> 1)) / below;
    return v + lnn_clamp(whole, -limit, limit) * unit + part;
}
