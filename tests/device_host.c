/* The device's side of the verification protocol as a library of this machine: bytes in, bytes out. */
#include "lnn_device.h"

#define ROOM 200000u

static lnn_device device;
static uint8_t answer[ROOM];
static uint32_t filled;
static uint32_t clock;

static void keep(uint8_t byte)
{
    if (filled < ROOM)
        answer[filled++] = byte;
}

static uint32_t ticks(void)
{
    return clock += 7u;
}

static const lnn_device_port port = {keep, ticks, 1000u, "a board in a library"};

void restart(void)
{
    uint8_t *const at = (uint8_t *)&device;
    uint32_t i;
    for (i = 0u; i < (uint32_t)sizeof device; i++)
        at[i] = 0xA5u; /* as after power-up */
    lnn_device_start(&device, &port);
}

/* Bytes of the answer, which lies at answer_bytes(). */
uint32_t take(const uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    filled = 0u;
    for (i = 0u; i < count; i++)
        lnn_device_take(&device, bytes[i]);
    return filled;
}

const uint8_t *answer_bytes(void)
{
    return answer;
}
