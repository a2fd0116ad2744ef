/* The monitor as Bluetooth characteristics: their numbers and the bytes in them, little endian without padding.
 *
 * Every value fits the 20 bytes that a notification always has room for. docs/monitor.md has the same as a table.
 */
#ifndef GATT_H
#define GATT_H

#include "monitor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GATT_UUID(number) "5a0f" number "-6c1e-4b7d-9f3a-2e8d41c7b605"
#define GATT_SERVICE GATT_UUID("0000")
#define GATT_FEED GATT_UUID("0001")
#define GATT_COMMAND GATT_UUID("0002")
#define GATT_STATUS GATT_UUID("0003")
#define GATT_FORECAST GATT_UUID("0004")
#define GATT_TRUST GATT_UUID("0005")
#define GATT_REMAINING GATT_UUID("0006")

#define GATT_LAYOUT 1u
#define GATT_FEED_BYTES 9u
#define GATT_COMMAND_BYTES 5u
#define GATT_STATUS_BYTES 20u
#define GATT_FORECAST_BYTES 20u
#define GATT_TRUST_BYTES 12u
#define GATT_REMAINING_BYTES 5u

/* The forecast goes in blocks of seven. */
#define GATT_BLOCK 7u
#define GATT_BLOCKS ((SOH_OUTPUTS + GATT_BLOCK - 1u) / GATT_BLOCK)

/* Kinds of a feed; GATT_FILL is added to one of them. */
#define GATT_CAPACITY 0u /* uAh */
#define GATT_SOH 1u      /* millionths */
#define GATT_FILL 0x80u

/* Commands. */
#define GATT_REPEAT 1u  /* notify everything again */
#define GATT_RESET 2u   /* a new cell */
#define GATT_NOMINAL 3u /* uAh follow */

/* Results beyond those of monitor_result. */
#define GATT_MALFORMED 0xFFu

/* Do what was written. They return the result that the status shows. */
uint8_t gatt_feed(monitor *m, const uint8_t *data, uint8_t bytes);
uint8_t gatt_command(monitor *m, const uint8_t *data, uint8_t bytes);

/* Write the value of a characteristic, and return its bytes. `result` is that of the last write. */
uint8_t gatt_status(const monitor *m, uint8_t result, uint8_t *to);
uint8_t gatt_forecast(const monitor *m, uint8_t block, uint8_t *to);
uint8_t gatt_trust(const monitor *m, uint8_t *to);
uint8_t gatt_remaining(const monitor *m, uint8_t *to);

#ifdef __cplusplus
}
#endif

#endif
