/* Puts the smaller of two values first. */
LNN_INLINE void lnn_order(int32_t *a, int32_t *b)
{
    const int32_t less = *a < *b ? *a : *b;
    *b = *a < *b ? *b : *a;
    *a = less;
}
