/* *g += sum of gate weights times z, *c += sum of candidate weights times z, over cols = 4, 8, ... columns;
 * eight weights for each four of them: gate 0 1, candidate 0 1, gate 2 3, candidate 2 3. Returns the
 * next unit's weights. No partial sum leaves int32. */
LNN_INLINE const int16_t *lnn_pairs_s16(const int16_t *z, const int16_t *w, int32_t cols, int32_t *g,
    int32_t *c)
{
    const int16_t *const end = z + cols;
    int32_t sg = *g, sc = *c;
    do {
#if LNN_PATH > 0
        const int32_t z01 = LNN_LOAD(z), z23 = LNN_LOAD(z + 2);
        sg = __smlad(LNN_LOAD(w), z01, sg);
        sc = __smlad(LNN_LOAD(w + 2), z01, sc);
        sg = __smlad(LNN_LOAD(w + 4), z23, sg);
        sc = __smlad(LNN_LOAD(w + 6), z23, sc);
#else
        sg += (int32_t)LNN_S16(w) * z[0] + (int32_t)LNN_S16(w + 1) * z[1];
        sc += (int32_t)LNN_S16(w + 2) * z[0] + (int32_t)LNN_S16(w + 3) * z[1];
        sg += (int32_t)LNN_S16(w + 4) * z[2] + (int32_t)LNN_S16(w + 5) * z[3];
        sc += (int32_t)LNN_S16(w + 6) * z[2] + (int32_t)LNN_S16(w + 7) * z[3];
#endif
        z += 4;
        w += 8;
    } while (z != end);
    *g = sg;
    *c = sc;
    return w;
}
