/* (4) ((a * b) >> 16) + c, rounded down; SMLAWB on a Cortex-M4. The compiler proves that the
 * sum fits 32 bits. */
LNN_FAST int32_t lnn_smlaw(int32_t a, int16_t b, int32_t c)
{
#if LNN_PATH > 0
    return __smlawb(a, b, c);
#else
    return (int32_t)(((int64_t)a * b) >> 16) + c;
#endif
}
