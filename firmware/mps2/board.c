/* Registers: "Cortex-M System Design Kit Technical Reference Manual", Arm (APB UART), at 25 MHz; "Armv7-M
 * Architecture Reference Manual", B3.2 (VTOR), B3.3 (SysTick), B3.4 (NVIC).
 *
 * Bytes arrive by interrupt, as in a real core: asking the emulated UART over and over would keep the emulator from
 * taking them off the line.
 */
#include "board.h"
#include "m4_io.h"

typedef struct { volatile uint32_t data, state, control, interrupts, divider; } uart;
typedef struct { volatile uint32_t control, reload, value; } systick;
#define UART0 ((uart *)0x40004000u)
#define SYSTICK ((systick *)0xE000E010u)
#define SEND_FULL 1u
#define SEND_AND_RECEIVE 3u
#define RECEIVE_INTERRUPT 8u
#define RECEIVED 2u
#define CLOCK_MHZ 25u
#define TICK (CLOCK_MHZ * 1000u) /* a millisecond */
#define RUN_WITH_INTERRUPT 7u    /* on the processor's clock */

#define VTOR (*(volatile uint32_t *)0xE000ED08u)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)
#define NVIC_DISABLE (*(volatile uint32_t *)0xE000E180u)
#define UART0_LINE 1u /* bit of external interrupt 0 */
#define SYSTICK_VECTOR 15u
#define UART0_VECTOR 16u

#define ROOM 1024u /* bytes that may wait; a power of two */

int main(void);

typedef void (*handler)(void);
static handler vectors[32] __attribute__((aligned(128)));
static uint8_t waiting[ROOM];
static volatile uint32_t arrived, taken; /* counts; their difference is what waits */
static volatile uint32_t milliseconds;

/* Where there is no room a byte stays in the UART, and what comes after it on the line. */
static void receive(void)
{
    if (arrived - taken == ROOM) {
        NVIC_DISABLE = UART0_LINE;
        return;
    }
    UART0->interrupts = RECEIVED;
    waiting[arrived % ROOM] = (uint8_t)UART0->data;
    arrived = arrived + 1u;
}

static void tick(void)
{
    milliseconds = milliseconds + 1u;
}

static void start(void)
{
    const handler *const old = (const handler *)(uintptr_t)VTOR;
    uint32_t i;
    for (i = 0u; i < 16u; i++)
        vectors[i] = old[i];
    vectors[SYSTICK_VECTOR] = tick;
    vectors[UART0_VECTOR] = receive;
    VTOR = (uint32_t)(uintptr_t)vectors;
    UART0->divider = 217u; /* 115,200 baud; QEMU asks for 16 at least and does not wait */
    UART0->control = SEND_AND_RECEIVE | RECEIVE_INTERRUPT;
    NVIC_ENABLE = UART0_LINE;
    SYSTICK->reload = TICK - 1u;
    SYSTICK->value = 0u;
    SYSTICK->control = RUN_WITH_INTERRUPT;
}

int board_available(void)
{
    if (arrived == taken)
        __asm volatile("wfi");
    return arrived != taken;
}

uint8_t board_read(void)
{
    const uint8_t byte = waiting[taken % ROOM];
    taken = taken + 1u;
    NVIC_ENABLE = UART0_LINE;
    return byte;
}

void board_write(uint8_t byte)
{
    while ((UART0->state & SEND_FULL) != 0u) {
    }
    UART0->data = byte;
}

uint32_t board_microseconds(void)
{
    uint32_t ms, left;
    do { /* again, where a tick came between */
        ms = milliseconds;
        left = SYSTICK->value;
    } while (ms != milliseconds);
    return ms * 1000u + (TICK - 1u - left) / CLOCK_MHZ;
}

uint32_t board_milliseconds(void)
{
    return milliseconds;
}

/* What m4_startup.c asks for: a program that never ends, and silence after a fault. */
int m4_run(void)
{
    start();
    return main();
}

void m4_exit(int status)
{
    (void)status;
    for (;;) {
    }
}

void m4_complain(const char *name, uint32_t value)
{
    (void)name;
    (void)value;
}
