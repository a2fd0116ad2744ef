/* Keeps the newest of a series of equal-sized records through any loss of power, in flash or EEPROM.
 *
 * The memory is two slots or more; a slot is what is erased at once, and holds one record or more. A record is written
 * behind the newest one while its slot has room, then at the start of the next slot, which is erased first. The slot
 * of the newest record is never erased: whenever power fails, that record or the one being written is there.
 *
 *     bytes   little endian
 *     2       0x4A4C
 *     2       bytes of the payload
 *     4       sequence number, 1, 2, ...: the highest one is the newest
 *     ...     payload
 *     4       CRC-32 of everything before (IEEE 802.3, reflected, as in zlib)
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JOURNAL_HEAD 8u
#define JOURNAL_TAIL 4u
#define JOURNAL_RECORD(payload) (JOURNAL_HEAD + (payload) + JOURNAL_TAIL)

typedef enum { STORAGE_RAM, STORAGE_EEPROM, STORAGE_FLASH } storage_kind;

/* What the board has. Addresses count from the first slot; the functions return 0, or -1 when they failed.
 * `erase` makes a slot's bytes 0xFF; where bytes can be written over, as in EEPROM, it need not do anything. */
typedef struct {
    storage_kind kind;
    uint8_t slots;
    uint16_t slot_bytes;
    int (*read)(uint32_t at, uint8_t *to, uint16_t bytes);
    int (*erase)(uint8_t slot);
    int (*program)(uint32_t at, const uint8_t *from, uint16_t bytes);
} journal_port;

typedef struct {
    const journal_port *port;
    uint32_t sequence; /* of the newest record; 0: there is none */
    uint32_t at;       /* where it stands */
    uint16_t bytes;    /* of a record */
} journal;

/* Finds the newest record with this many bytes of payload: a multiple of 4, as flash is written in words. */
void journal_mount(journal *j, const journal_port *port, uint16_t payload);

/* Copies the payload of the newest record behind JOURNAL_HEAD bytes of `record`. Returns 0, or -1: none is there. */
int journal_read(const journal *j, uint8_t *record);

/* Writes the payload that stands behind JOURNAL_HEAD bytes of `record`, and reads it again. Returns 0, or -1 when
 * the memory failed: what was the newest record still is. */
int journal_write(journal *j, uint8_t *record);

#ifdef __cplusplus
}
#endif

#endif
