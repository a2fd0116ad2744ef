/* CRC-32 (IEEE 802.3, reflected, the one of zlib and PNG), a bit at a time: no table in flash. */
static uint32_t lnn_crc32(const uint8_t *data, uint32_t bytes)
{
    uint32_t crc = 0xFFFFFFFFu, i;
    int bit;
    for (i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (bit = 0; bit < 8; bit++)
            crc = (crc & 1u) != 0u ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
    }
    return crc ^ 0xFFFFFFFFu;
}

/* Writes the low `width` bytes of bits, lowest first, and returns where the next may go. */
static uint8_t *lnn_put_bytes(uint8_t *to, uint32_t bits, int width)
{
    int i;
    for (i = 0; i < width; i++) {
        *to++ = (uint8_t)(bits & 255u);
        bits >>= 8;
    }
    return to;
}

/* Reads a number of `width` bytes, lowest first, in two's complement. */
static int32_t lnn_get_bytes(const uint8_t *from, int width)
{
    uint32_t bits = (from[width - 1] & 128u) != 0u ? 0xFFFFFFFFu : 0u;
    int i;
    for (i = width; i-- > 0;)
        bits = (bits << 8) | from[i];
    return bits > 0x7FFFFFFFu ? -(int32_t)(0xFFFFFFFFu - bits) - 1 : (int32_t)bits;
}
