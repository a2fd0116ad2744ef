/* The median of five values: neither the least nor the largest of four can be it. */
LNN_FAST int32_t lnn_median_five(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e)
{
    int32_t low = a < b ? a : b, high = a < b ? b : a, least = c < d ? c : d, most = c < d ? d : c;
    low = low > least ? low : least;
    high = high < most ? high : most;
    least = low < high ? low : high;
    most = low < high ? high : low;
    return e < least ? least : e > most ? most : e;
}
