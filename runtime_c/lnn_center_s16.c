/* out[i] = clamp(x[i] - center, +-32640): an input port, moved to the mean of its calibration
 * data. 32640 leaves room for an int8 weight in a 16-bit lane. */
static void lnn_center_s16(const int16_t *x, int32_t n, int32_t center, int16_t *out)
{
    const int16_t *const end = x + n;
#if LNN_PATH > 0
    const int32_t twice = center * 65536 + (uint16_t)center;
    if (n > 1) {
        const int16_t *const pairs = x + (n & ~(int32_t)1);
        do { /* QSUB16 saturates at 16 bits */
            LNN_STORE(out, lnn_clamp_both(__qsub16(LNN_LOAD(x), twice), -32640, 32640));
            x += 2;
            out += 2;
        } while (x != pairs);
    }
#endif
    for (; x != end; x++, out++)
        *out = (int16_t)lnn_clamp(*x - center, -32640, 32640);
}
