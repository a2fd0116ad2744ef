/* A battery's state of health, forecast on the board: capacities in over Serial or Bluetooth, one a cycle, forecasts
 * out. docs/monitor.md tells how to build it, and what it says and understands.
 *
 * Needs the library that `lnnc compile examples/soh/student.pt --name soh --layout arduino -o soh` writes; on a Nano
 * 33 BLE also ArduinoBLE. Here is only what ties the parts to the board.
 */
#include <soh.h>

#include "lines.h"

#if defined(ARDUINO_ARDUINO_NANO33BLE)
#include "ble_nano.h"
#include "say.h"
#include "storage_nano.h"
#include "text.h"
#elif defined(__AVR__)
#include "storage_avr.h"
#else
#include "storage_ram.h"
#endif

static monitor device;
static lines console;

static void put(char c, void *where)
{
    (void)where;
    Serial.write((uint8_t)c);
}

void setup()
{
    Serial.begin(115200);
    monitor_begin(&device, storage_port());
    lines_begin(&console, &device, put, 0);
    lines_hello(&console);
#if defined(ARDUINO_ARDUINO_NANO33BLE)
    if (!ble_begin(&device))
        say_error(&console, TEXT("bluetooth"));
#endif
}

void loop()
{
    while (Serial.available() > 0)
        lines_take(&console, (char)Serial.read());
#if defined(ARDUINO_ARDUINO_NANO33BLE)
    uint32_t cycle;
    uint8_t result;
    if (ble_take(&device, &cycle, &result))
        lines_report(&console, cycle, MONITOR_OK);
#endif
}
