/* EEPROM of an AVR, in halves: a Uno's 1,024 bytes hold two records. Bytes are written over, so nothing is erased, and
 * a byte that stays the same is not written. A record takes a second or two; 100,000 writes of each half are good for
 * two million cycles. */
#ifndef STORAGE_AVR_H
#define STORAGE_AVR_H

#include "journal.h"
#include <avr/eeprom.h>

#define STORAGE_SLOTS 2u
#define STORAGE_SLOT_BYTES ((uint16_t)((E2END + 1u) / STORAGE_SLOTS))

static uint8_t *storage_at(uint32_t at)
{
    return (uint8_t *)(uint16_t)at;
}

static int storage_read(uint32_t at, uint8_t *to, uint16_t bytes)
{
    eeprom_read_block(to, storage_at(at), bytes);
    return 0;
}

static int storage_erase(uint8_t slot)
{
    (void)slot;
    return 0;
}

static int storage_program(uint32_t at, const uint8_t *from, uint16_t bytes)
{
    eeprom_update_block(from, storage_at(at), bytes);
    return 0;
}

static const journal_port *storage_port(void)
{
    static const journal_port port = {
        STORAGE_EEPROM, STORAGE_SLOTS, STORAGE_SLOT_BYTES, storage_read, storage_erase, storage_program};

    return &port;
}

#endif
