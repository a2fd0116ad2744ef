/* out[0] = clamp(requant((bias + sum_i x[i]) << shift, mult), lo, hi): a mean, with 1/n inside
 * mult. The compiler proves (|bias| + n max|x|) << shift < 2^31. */
static void lnn_sum_s32(const int16_t *x, int32_t n, int32_t bias, int32_t mult, int32_t shift,
    int32_t lo, int32_t hi, int32_t *out)
{
    const int16_t *const end = x + n;
    int32_t acc = bias;
#if LNN_PATH > 0
    if (n > 3) {
        const int16_t *const fours = x + (n & ~(int32_t)3);
        do {
            const int32_t a = LNN_LOAD(x), b = LNN_LOAD(x + 2);
            acc = __smlad(b, 0x00010001, __smlad(a, 0x00010001, acc));
            x += 4;
        } while (x != fours);
    }
#endif
    for (; x != end; x++)
        acc += *x;
    out[0] = lnn_clamp(lnn_requant(acc * ((int32_t)1 << shift), mult), lo, hi);
}
