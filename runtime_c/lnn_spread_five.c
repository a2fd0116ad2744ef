/* The spread of five values, and their median: a sorting network of nine comparisons. Sorted to a ... e,
 * the median is c; of the five distances from it, 0 among them, the third in order is the larger of
 * the near ones, c - b and d - c, unless a far one is less. */
LNN_INLINE int32_t lnn_spread_five(const int16_t *x, int32_t *middle)
{
    int32_t a = x[0], b = x[1], c = x[2], d = x[3], e = x[4], spread;
    lnn_order(&a, &b);
    lnn_order(&d, &e);
    lnn_order(&c, &e);
    lnn_order(&c, &d);
    lnn_order(&b, &e);
    lnn_order(&a, &d);
    lnn_order(&a, &c);
    lnn_order(&b, &d);
    lnn_order(&b, &c);
    *middle = c;
    spread = c - b > d - c ? c - b : d - c;
    spread = spread < c - a ? spread : c - a;
    return spread < e - c ? spread : e - c;
}
