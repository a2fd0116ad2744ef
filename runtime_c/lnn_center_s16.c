/* out[i] = clamp(x[i] - center, +-32640): an input port, moved to the mean of its calibration
 * data. 32640 leaves room for an int8 weight in a 16-bit lane. */
static void lnn_center_s16(const int16_t *x, int32_t n, int32_t center, int16_t *out)
{
    int32_t i;
    for (i = 0; i < n; i++)
        out[i] = (int16_t)lnn_clamp(x[i] - center, -32640, 32640);
}
