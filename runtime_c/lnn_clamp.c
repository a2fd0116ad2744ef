/* min(max(value, lo), hi) */
LNN_FAST int32_t lnn_clamp(int32_t value, int32_t lo, int32_t hi)
{
    return value < lo ? lo : value > hi ? hi : value;
}
