/* Two rows of int16 weights at once: *a += sum of wa[c] x[c], *b += sum of wb[c] x[c] over n columns. No
 * partial sum leaves int32. */
LNN_INLINE void lnn_dots_s16(const int16_t *x, const int16_t *wa, const int16_t *wb, int32_t n,
    int32_t *a, int32_t *b)
{
    const int16_t *const whole = x + (n & ~(int32_t)3), *const end = x + n;
    int32_t sa = *a, sb = *b;
    for (; x != whole; x += 4, wa += 4, wb += 4) {
#if LNN_PATH > 0
        const int32_t x01 = LNN_LOAD(x), x23 = LNN_LOAD(x + 2);
        sa = __smlad(LNN_LOAD(wa + 2), x23, __smlad(LNN_LOAD(wa), x01, sa));
        sb = __smlad(LNN_LOAD(wb + 2), x23, __smlad(LNN_LOAD(wb), x01, sb));
#else
        sa += (int32_t)LNN_S16(wa) * x[0] + (int32_t)LNN_S16(wa + 1) * x[1];
        sa += (int32_t)LNN_S16(wa + 2) * x[2] + (int32_t)LNN_S16(wa + 3) * x[3];
        sb += (int32_t)LNN_S16(wb) * x[0] + (int32_t)LNN_S16(wb + 1) * x[1];
        sb += (int32_t)LNN_S16(wb + 2) * x[2] + (int32_t)LNN_S16(wb + 3) * x[3];
#endif
    }
    for (; x != end; x++, wa++, wb++) {
        sa += (int32_t)LNN_S16(wa) * *x;
        sb += (int32_t)LNN_S16(wb) * *x;
    }
    *a = sa;
    *b = sb;
}
