/* Input and output of the Cortex-M4 test image.
 *
 * Input: the emulator's loader has put a 4-byte little-endian length and that many bytes at 0x21000000.
 * Output: Arm semihosting (BKPT 0xAB), in bulk because each call leaves the emulator.
 * Source: "Semihosting for AArch32 and AArch64", Arm, 2.0 (operations SYS_OPEN 1, SYS_WRITE 5, SYS_EXIT_EXTENDED 0x20).
 */
#include "m4_io.h"

#define INPUT_LENGTH (*(const volatile uint32_t *)0x21000000u)
#define INPUT_BYTES ((const uint8_t *)0x21000004u)
#define INPUT_ROOM 0x00FFFFFCu

#define SYS_OPEN 0x01u
#define SYS_WRITE 0x05u
#define SYS_EXIT_EXTENDED 0x20u
#define OPEN_WRITE_BINARY 5u  /* on ":tt" this is stdout */
#define OPEN_APPEND 8u        /* on ":tt" this is stderr */
#define APPLICATION_EXIT 0x20026u
#define NOT_OPEN 0xFFFFFFFFu

#define OUTPUT_ROOM 65536u

static uint8_t output[OUTPUT_ROOM];
static uint32_t filled;
static uint32_t stdout_handle = NOT_OPEN;

static uint32_t semihost(uint32_t operation, const uint32_t *block)
{
    register uint32_t r0 __asm("r0") = operation;
    register const uint32_t *r1 __asm("r1") = block;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory", "cc", "r2", "r3", "ip", "lr");
    return r0;
}

static uint32_t address_of(const void *object)
{
    return (uint32_t)(uintptr_t)object;
}

static uint32_t open_console(uint32_t mode)
{
    static const char name[] = ":tt";
    uint32_t block[3];
    block[0] = address_of(name);
    block[1] = mode;
    block[2] = (uint32_t)sizeof name - 1u;
    return semihost(SYS_OPEN, block);
}

/* SYS_WRITE returns the number of bytes it did NOT write. */
static void write_all(uint32_t handle, const void *data, uint32_t bytes)
{
    const uint8_t *at = (const uint8_t *)data;
    while (bytes != 0u) {
        uint32_t block[3];
        uint32_t left;
        block[0] = handle;
        block[1] = address_of(at);
        block[2] = bytes;
        left = semihost(SYS_WRITE, block);
        if (left >= bytes) {
            m4_exit(HARNESS_NO_MEMORY);
        }
        at += bytes - left;
        bytes = left;
    }
}

static void flush(void)
{
    if (stdout_handle == NOT_OPEN) {
        stdout_handle = open_console(OPEN_WRITE_BINARY);
    }
    write_all(stdout_handle, output, filled);
    filled = 0u;
}

void harness_write(const void *data, uint32_t bytes)
{
    const uint8_t *const from = (const uint8_t *)data;
    uint32_t i;
    for (i = 0u; i < bytes; i++) {
        if (filled == OUTPUT_ROOM) {
            flush();
        }
        output[filled++] = from[i];
    }
}

int m4_run(void)
{
    const uint32_t length = INPUT_LENGTH;
    int status;
    if (length > INPUT_ROOM) {
        return HARNESS_NO_MEMORY;
    }
    status = harness_run(INPUT_BYTES, length);
    flush();
    return status;
}

void m4_exit(int status)
{
    uint32_t block[2];
    block[0] = APPLICATION_EXIT;
    block[1] = (uint32_t)status;
    for (;;) {
        (void)semihost(SYS_EXIT_EXTENDED, block);
    }
}

static uint32_t length_of(const char *text)
{
    uint32_t length = 0u;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}

void m4_complain(const char *name, uint32_t value)
{
    static const char digits[] = "0123456789abcdef";
    const uint32_t console = open_console(OPEN_APPEND);
    char number[12] = {' ', '0', 'x', '0', '0', '0', '0', '0', '0', '0', '0', '\n'};
    uint32_t i;
    for (i = 0u; i < 8u; i++) {
        number[3u + i] = digits[(value >> (28u - 4u * i)) & 15u];
    }
    write_all(console, name, length_of(name));
    write_all(console, number, (uint32_t)sizeof number);
}
