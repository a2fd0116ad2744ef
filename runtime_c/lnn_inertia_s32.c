/* (35) capacitance / D of n neurons, in the unit of each, for a step of time dt > 0: out[i] =
 * max(2^power / dt mult[i] / 2^32, 1). One division; the compiler proves that 2^power / dt fits. */
static void lnn_inertia_s32(int32_t dt, int32_t power, const int32_t *mult, int32_t n, int32_t *out)
{
    const int32_t inverse = (int32_t)((((int64_t)1 << power) + (dt >> 1)) / dt);
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t value = lnn_requant(inverse, LNN_S32(mult + i));
        out[i] = value < 1 ? 1 : value;
    }
}
