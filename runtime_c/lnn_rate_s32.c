/* (36) D / capacitance of n neurons, in the unit of each, for a step of time dt: out[i] =
 * dt mult[i] / 2^32. */
static void lnn_rate_s32(int32_t dt, const int32_t *mult, int32_t n, int32_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = lnn_requant(dt, LNN_S32(mult + i));
}
