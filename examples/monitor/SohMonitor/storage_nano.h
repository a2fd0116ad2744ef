/* The last four pages of the nRF52840's own flash, through mbed's FlashIAP. A page of 4,096 bytes holds nine records,
 * so 10,000 erasures of each are good for 360,000 records, 3.6 million cycles. A sketch that reaches into these pages
 * would be damaged: 1 MB less 80 KB is far from where any sketch ends. */
#ifndef STORAGE_NANO_H
#define STORAGE_NANO_H

#include "journal.h"
#include <FlashIAP.h>

#define STORAGE_SLOTS 4u

static mbed::FlashIAP storage_flash;
static uint32_t storage_start, storage_page;

static int storage_read(uint32_t at, uint8_t *to, uint16_t bytes)
{
    return storage_flash.read(to, storage_start + at, bytes) == 0 ? 0 : -1;
}

static int storage_erase(uint8_t slot)
{
    return storage_flash.erase(storage_start + slot * storage_page, storage_page) == 0 ? 0 : -1;
}

static int storage_program(uint32_t at, const uint8_t *from, uint16_t bytes)
{
    return storage_flash.program(from, storage_start + at, bytes) == 0 ? 0 : -1;
}

/* 0, which leaves the monitor without a memory, when this is not the flash that we know. */
static const journal_port *storage_port(void)
{
    static journal_port port = {STORAGE_FLASH, STORAGE_SLOTS, 0, storage_read, storage_erase, storage_program};
    uint32_t end;

    if (storage_flash.init() != 0)
        return 0;
    end = storage_flash.get_flash_start() + storage_flash.get_flash_size();
    storage_page = storage_flash.get_sector_size(end - 1u);
    if (storage_page < JOURNAL_RECORD(0u) || storage_page > 0x8000u || storage_flash.get_page_size() > 4u)
        return 0;
    storage_start = end - STORAGE_SLOTS * storage_page;
    port.slot_bytes = (uint16_t)storage_page;
    return &port;
}

#endif
