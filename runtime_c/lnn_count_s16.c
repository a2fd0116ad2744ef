/* (41) Counts the steps in units of `step`, up to `limit`. */
static void lnn_count_s16(int16_t *count, int32_t step, int32_t limit)
{
    const int32_t next = count[0] + step;
    count[0] = (int16_t)(next < limit ? next : limit);
}
