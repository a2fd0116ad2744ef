/* The monitor on this machine, for tests through ctypes: flash that can fail, and the lines that were sent.
 *
 * The memory behaves as flash does, or as EEPROM: `power` counts the bytes that can still be written; the one that
 * power fails at is left half written, and after it nothing works until the next start. A torn erasure has erased the
 * bytes it got to. Programming a byte of flash that is not blank is counted as a fault.
 */
#include "gatt.h"
#include "lines.h"
#include <string.h>

#define ROOM 65536u

static uint8_t memory[ROOM];
static long power;
static int dead, faults;
static char sent[ROOM];
static uint32_t sent_bytes;
static monitor device;
static lines console;
static journal_port port;

static int spend(void)
{
    if (dead || power-- <= 0) {
        dead = 1;
        return -1;
    }
    return 0;
}

static int host_read(uint32_t at, uint8_t *to, uint16_t bytes)
{
    memcpy(to, memory + at, bytes);
    return dead ? -1 : 0;
}

static int host_erase(uint8_t slot)
{
    uint8_t *at = memory + (uint32_t)slot * port.slot_bytes;
    uint16_t i;

    if (port.kind == STORAGE_EEPROM)
        return dead ? -1 : 0;
    for (i = 0; i < port.slot_bytes; i++) {
        if (spend() != 0) {
            at[i] |= 0x5A;
            return -1;
        }
        at[i] = 0xFF;
    }
    return 0;
}

static int host_program(uint32_t at, const uint8_t *from, uint16_t bytes)
{
    uint16_t i;

    for (i = 0; i < bytes; i++) {
        if (port.kind == STORAGE_EEPROM && memory[at + i] == from[i])
            continue;
        if (port.kind == STORAGE_FLASH && memory[at + i] != 0xFF)
            faults++;
        if (spend() != 0) {
            if (!dead || i < bytes)
                memory[at + i] = (uint8_t)(from[i] | (memory[at + i] & 0xA5));
            return -1;
        }
        memory[at + i] = port.kind == STORAGE_FLASH ? (uint8_t)(memory[at + i] & from[i]) : from[i];
    }
    return 0;
}

static void host_put(char c, void *where)
{
    (void)where;
    if (sent_bytes < ROOM)
        sent[sent_bytes++] = c;
}

/* --- what ctypes calls --- */

uint8_t *host_memory(void) { return memory; }
void host_power(long bytes) { power = bytes; }
int host_faults(void) { return faults; }
monitor *host_device(void) { return &device; }

/* Power on. kind 0: no memory. */
void host_start(int kind, int slots, int slot_bytes)
{
    const journal_port made = {
        (storage_kind)kind, (uint8_t)slots, (uint16_t)slot_bytes, host_read, host_erase, host_program};

    port = made;
    dead = 0;
    memset(&device, 0xA5, sizeof device);
    monitor_begin(&device, kind == 0 ? 0 : &port);
    lines_begin(&console, &device, host_put, 0);
}

void host_hello(void) { lines_hello(&console); }

void host_receive(const char *text, int bytes)
{
    int i;

    for (i = 0; i < bytes; i++)
        lines_take(&console, text[i]);
}

/* What was sent since the last call. */
uint32_t host_sent(char *to)
{
    const uint32_t bytes = sent_bytes;

    memcpy(to, sent, bytes);
    sent_bytes = 0;
    return bytes;
}

/* A characteristic by its number, as gatt.h numbers them. */
uint8_t host_write(int characteristic, const uint8_t *data, uint8_t bytes)
{
    return characteristic == 1 ? gatt_feed(&device, data, bytes) : gatt_command(&device, data, bytes);
}

uint8_t host_value(int characteristic, uint8_t argument, uint8_t *to)
{
    switch (characteristic) {
    case 3: return gatt_status(&device, argument, to);
    case 4: return gatt_forecast(&device, argument, to);
    case 5: return gatt_trust(&device, to);
    default: return gatt_remaining(&device, to);
    }
}

/* The journal by itself: mount, and the payload that it finds; -1 when there is none. */
static journal alone;
static uint8_t record[ROOM];

long host_mount(int kind, int slots, int slot_bytes, int payload, uint8_t *to)
{
    const journal_port made = {
        (storage_kind)kind, (uint8_t)slots, (uint16_t)slot_bytes, host_read, host_erase, host_program};

    port = made;
    dead = 0;
    journal_mount(&alone, &port, (uint16_t)payload);
    if (journal_read(&alone, record) != 0)
        return -1;
    memcpy(to, record + JOURNAL_HEAD, (size_t)payload);
    return (long)alone.sequence;
}

int host_journal_write(const uint8_t *payload, int bytes)
{
    memcpy(record + JOURNAL_HEAD, payload, (size_t)bytes);
    return journal_write(&alone, record);
}
