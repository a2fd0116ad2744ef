/* (43) out[t] = clamp((v + anchor 2^up + half) >> shift, lo, hi), v = sum of x[j] s^j over 4 terms with
 * s = (start + t step) / 2^32 in [-1/2, 1/2], by Horner's rule. |x[j]| <= 2^28: |v| < 2^29. */
static void lnn_cubic_s16(const int32_t *x, const int16_t *anchor, int32_t up, int32_t start,
    int32_t step, int32_t length, int32_t shift, int32_t lo, int32_t hi, int16_t *out)
{
    const int32_t x0 = x[0] + anchor[0] * ((int32_t)1 << up) + (((int32_t)1 << shift) >> 1);
    const int32_t x1 = x[1], x2 = x[2], x3 = x[3];
    uint32_t place = (uint32_t)start; /* wraps after the last */
#if LNN_PATH > 0
    for (; length > 1; length -= 2, out += 2) {
        const int32_t s = (int32_t)place, t = (int32_t)(place + (uint32_t)step);
        const int32_t v = x1 + lnn_requant(x2 + lnn_requant(x3, s), s);
        const int32_t w = x1 + lnn_requant(x2 + lnn_requant(x3, t), t);
        LNN_STORE(out, lnn_clamp_pair((x0 + lnn_requant(v, s)) >> shift, (x0 + lnn_requant(w, t)) >> shift, lo, hi));
        place += 2u * (uint32_t)step;
    }
#endif
    for (; length > 0; length--, place += (uint32_t)step) {
        const int32_t s = (int32_t)place;
        const int32_t v = x1 + lnn_requant(x2 + lnn_requant(x3, s), s);
        *out++ = (int16_t)lnn_clamp((x0 + lnn_requant(v, s)) >> shift, lo, hi);
    }
}
