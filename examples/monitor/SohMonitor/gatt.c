#include "gatt.h"
#include "little.h"

uint8_t gatt_feed(monitor *m, const uint8_t *data, uint8_t bytes)
{
    const int fill = bytes > 0u && (data[0] & GATT_FILL) != 0u;

    if (bytes != GATT_FEED_BYTES || (data[0] & ~GATT_FILL) > GATT_SOH)
        return GATT_MALFORMED;
    if ((data[0] & GATT_SOH) != 0u)
        return (uint8_t)monitor_feed_soh(m, get_u32(data + 1), get_u32(data + 5), fill);
    return (uint8_t)monitor_feed_capacity(m, get_u32(data + 1), get_u32(data + 5), fill);
}

uint8_t gatt_command(monitor *m, const uint8_t *data, uint8_t bytes)
{
    if (bytes == GATT_COMMAND_BYTES && data[0] == GATT_NOMINAL)
        return (uint8_t)monitor_set_nominal(m, get_u32(data + 1));
    if (bytes != 1u || (data[0] != GATT_REPEAT && data[0] != GATT_RESET))
        return GATT_MALFORMED;
    if (data[0] == GATT_RESET)
        monitor_reset(m);
    return MONITOR_OK;
}

/* High half: where the state is kept, 3 when that has failed. Bit 0: a cycle has come, bit 1: a forecast is there. */
static uint8_t flags_of(const monitor *m)
{
    const unsigned storage = m->failed ? 3u : m->port == 0 ? (unsigned)STORAGE_RAM : (unsigned)m->port->kind;

    return (uint8_t)(storage << 4 | (m->forecasts ? 2u : 0u) | (m->started ? 1u : 0u));
}

uint8_t gatt_status(const monitor *m, uint8_t result, uint8_t *to)
{
    const uint32_t unsaved = m->last - m->saved;

    to[0] = GATT_LAYOUT;
    to[1] = result;
    to[2] = flags_of(m);
    to[3] = m->missing;
    to = put_u16(put_u32(put_u32(to + 4, m->first), m->last), (uint16_t)m->value);
    put_u32(put_u16(to, unsaved > UINT16_MAX ? UINT16_MAX : (uint16_t)unsaved), m->nominal);
    return GATT_STATUS_BYTES;
}

uint8_t gatt_forecast(const monitor *m, uint8_t block, uint8_t *to)
{
    const uint8_t begin = (uint8_t)(block * GATT_BLOCK);
    uint8_t i;

    to = put_u32(to, m->origin);
    *to++ = block;
    *to++ = m->forecasts ? GATT_BLOCKS : 0u;
    for (i = begin; m->forecasts && i < SOH_OUTPUTS && i < begin + GATT_BLOCK; i++)
        to = put_u16(to, (uint16_t)m->forecast[i]);
    return (uint8_t)(6u + (m->forecasts ? 2u * (uint8_t)(i - begin) : 0u));
}

uint8_t gatt_trust(const monitor *m, uint8_t *to)
{
    uint8_t i;

    to = put_u32(to, m->origin);
    for (i = 0; i < MONITOR_EXPERTS; i++)
        to = put_u16(to, (uint16_t)monitor_trust(m)[i]);
    return GATT_TRUST_BYTES;
}

uint8_t gatt_remaining(const monitor *m, uint8_t *to)
{
    *put_u32(to, m->origin) = monitor_remaining(m);
    return GATT_REMAINING_BYTES;
}
