/* Numbers as bytes, little endian whatever the processor. */
#ifndef LITTLE_H
#define LITTLE_H

#include <stdint.h>

/* Both give where the next byte goes. */
static inline uint8_t *put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value & 0xFFu);
    to[1] = (uint8_t)(value >> 8);
    return to + 2;
}

static inline uint8_t *put_u32(uint8_t *to, uint32_t value)
{
    return put_u16(put_u16(to, (uint16_t)(value & 0xFFFFu)), (uint16_t)(value >> 16));
}

static inline uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

#endif
