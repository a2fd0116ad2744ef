#include "journal.h"
#include "little.h"

#define MAGIC 0x4A4Cu
#define CHUNK 16u

static uint32_t crc_of(uint32_t crc, const uint8_t *data, uint16_t bytes)
{
    uint8_t bit;

    while (bytes-- > 0u) {
        crc ^= *data++;
        for (bit = 0; bit < 8u; bit++)
            crc = crc >> 1 ^ ((crc & 1u) != 0u ? 0xEDB88320u : 0u);
    }
    return crc;
}

/* Two numbers of the head in one: the second half is the size, which tells the layouts of payloads apart. */
static uint32_t mark_of(const journal *j)
{
    return MAGIC | (uint32_t)(j->bytes - JOURNAL_HEAD - JOURNAL_TAIL) << 16;
}

static uint32_t slot_start(const journal *j, uint8_t slot)
{
    return (uint32_t)slot * j->port->slot_bytes;
}

static uint8_t slot_of(const journal *j, uint32_t at)
{
    return (uint8_t)(at / j->port->slot_bytes);
}

/* The sequence number of the record at this place, 0 when there is no whole record. */
static uint32_t examine(const journal *j, uint32_t at)
{
    uint8_t chunk[CHUNK];
    uint32_t crc = 0xFFFFFFFFu, sequence = 0;
    uint16_t done = 0, left = (uint16_t)(j->bytes - JOURNAL_TAIL), now;

    for (; left > 0u; done = (uint16_t)(done + now), left = (uint16_t)(left - now)) {
        now = left < CHUNK ? left : (uint16_t)CHUNK;
        if (j->port->read(at + done, chunk, now) != 0)
            return 0;
        if (done == 0u) {
            if (get_u32(chunk) != mark_of(j))
                return 0;
            sequence = get_u32(chunk + 4);
        }
        crc = crc_of(crc, chunk, now);
    }
    if (j->port->read(at + done, chunk, JOURNAL_TAIL) != 0 || get_u32(chunk) != ~crc)
        return 0;
    return sequence;
}

/* Whether a record can be written here: EEPROM is written over, flash must be blank. */
static int is_free(const journal *j, uint32_t at)
{
    uint8_t byte;
    uint16_t i;

    if (j->port->kind == STORAGE_EEPROM)
        return 1;
    for (i = 0; i < j->bytes; i++)
        if (j->port->read(at + i, &byte, 1) != 0 || byte != 0xFFu)
            return 0;
    return 1;
}

void journal_mount(journal *j, const journal_port *port, uint16_t payload)
{
    uint32_t at, found;
    uint8_t slot;

    j->port = port;
    j->sequence = 0;
    j->at = 0;
    j->bytes = (uint16_t)JOURNAL_RECORD(payload);
    for (slot = 0; slot < port->slots; slot++)
        for (at = slot_start(j, slot); at + j->bytes <= slot_start(j, slot) + port->slot_bytes; at += j->bytes) {
            found = examine(j, at);
            if (found > j->sequence) {
                j->sequence = found;
                j->at = at;
            }
        }
}

int journal_read(const journal *j, uint8_t *record)
{
    if (j->sequence == 0u)
        return -1;
    return j->port->read(j->at, record, j->bytes);
}

static int write_at(journal *j, const uint8_t *record, uint32_t at)
{
    if (j->port->program(at, record, j->bytes) != 0 || examine(j, at) != j->sequence + 1u)
        return -1;
    j->sequence++;
    j->at = at;
    return 0;
}

/* At the first place from here to the end of the slot that takes it. What a write that was cut off has left is passed
 * over, and so is what is worn out. */
static int write_from(journal *j, const uint8_t *record, uint32_t at)
{
    const uint32_t end = slot_start(j, slot_of(j, at)) + j->port->slot_bytes;

    for (; at + j->bytes <= end; at += j->bytes)
        if (is_free(j, at) && write_at(j, record, at) == 0)
            return 0;
    return -1;
}

/* Behind the newest record. The end of a slot that is full may be the start of the next one, which is not erased. */
static int append(journal *j, const uint8_t *record)
{
    const uint32_t at = j->at + j->bytes;

    return slot_of(j, at) == slot_of(j, j->at) ? write_from(j, record, at) : -1;
}

/* Into the other slots in turn; into any while there is no record. */
static int move_on(journal *j, const uint8_t *record)
{
    const uint8_t slots = j->port->slots, newest = slot_of(j, j->at);
    uint8_t i = j->sequence != 0u, slot;

    for (; i < slots; i++) {
        slot = (uint8_t)((newest + i) % slots);
        if (j->port->erase(slot) == 0 && write_from(j, record, slot_start(j, slot)) == 0)
            return 0;
    }
    return -1;
}

int journal_write(journal *j, uint8_t *record)
{
    const uint16_t covered = (uint16_t)(j->bytes - JOURNAL_TAIL);

    if (j->bytes > j->port->slot_bytes)
        return -1;
    put_u32(record, mark_of(j));
    put_u32(record + 4, j->sequence + 1u);
    put_u32(record + covered, ~crc_of(0xFFFFFFFFu, record, covered));
    if (j->sequence != 0u && append(j, record) == 0)
        return 0;
    return move_on(j, record);
}
