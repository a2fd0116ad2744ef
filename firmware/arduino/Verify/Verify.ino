/* Lets `lnnc verify MODEL --on device --port auto` prove the model on this board, byte for byte.
 *
 * SPDX-License-Identifier: 0BSD (yours to use without any condition)
 *
 * Upload it, close the serial monitor, and run the command on the computer.
 */
#include "lnn.h"
#include "lnn_device.h"

static lnn_device device;

/* Native USB sends a packet for each write: an answer goes in pieces of 64 bytes. */
static uint8_t pending[64];
static uint8_t filled;

static void send_pending()
{
    Serial.write(pending, filled);
    filled = 0;
}

static void send_byte(uint8_t byte)
{
    pending[filled++] = byte;
    if (filled == sizeof pending)
        send_pending();
}

#if defined(F_CPU)
#define CLOCK_HZ F_CPU
#elif defined(ARDUINO_ARDUINO_NANO33BLE)
#define CLOCK_HZ 64000000u
#endif

/* Cortex-M3, M4, M7 and M33 count their cycles; elsewhere, and where the clock is not known, there are microseconds. */
#if defined(CLOCK_HZ) && (defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__))
#define DEBUG_CONTROL (*(volatile uint32_t *)0xE000EDFCu) /* DEMCR: bit 24 lets the counter work */
#define CYCLE_CONTROL (*(volatile uint32_t *)0xE0001000u) /* DWT_CTRL: bit 0 lets it run */
#define CYCLE_COUNT (*(volatile uint32_t *)0xE0001004u)   /* DWT_CYCCNT */

static uint32_t cycles()
{
    return CYCLE_COUNT;
}

static bool counts_cycles()
{
    DEBUG_CONTROL = DEBUG_CONTROL | 1u << 24;
    CYCLE_CONTROL = CYCLE_CONTROL | 1u;
    const uint32_t before = CYCLE_COUNT;
    for (volatile int i = 0; i < 100; i++) {
    }
    return CYCLE_COUNT != before; /* an emulator has no counter */
}
#else
#undef CLOCK_HZ
#define CLOCK_HZ 0u

static uint32_t cycles()
{
    return 0;
}

static bool counts_cycles()
{
    return false;
}
#endif

/* QEMU's clock is that of the computer it runs on: what it would measure means nothing. */
#if defined(ARDUINO_EMULATED_M4)
static const bool EMULATED = true;
#else
static const bool EMULATED = false;
#endif

static uint32_t microseconds()
{
    return (uint32_t)micros();
}

#if defined(ARDUINO_AVR_UNO)
#define BOARD_NAME "Arduino Uno"
#elif defined(ARDUINO_AVR_MEGA2560)
#define BOARD_NAME "Arduino Mega 2560"
#elif defined(ARDUINO_AVR_LEONARDO)
#define BOARD_NAME "Arduino Leonardo"
#elif defined(ARDUINO_ARDUINO_NANO33BLE)
#define BOARD_NAME "Arduino Nano 33 BLE"
#elif defined(ARDUINO_EMULATED_M4)
#define BOARD_NAME "emulated Cortex-M4"
#else
#define BOARD_NAME "an Arduino board"
#endif

static lnn_device_port port = {send_byte, 0, 0, BOARD_NAME};

void setup()
{
    Serial.begin(115200);
    if (counts_cycles()) {
        port.ticks = cycles;
        port.hz = CLOCK_HZ;
    } else if (!EMULATED) {
        port.ticks = microseconds;
        port.hz = 1000000u;
    }
    lnn_device_start(&device, &port);
}

void loop()
{
    while (Serial.available() > 0)
        lnn_device_take(&device, (uint8_t)Serial.read());
    if (filled > 0)
        send_pending();
}
