/* Registers: "Cortex-M System Design Kit Technical Reference Manual", Arm (APB UART, APB timer), at 25 MHz; "Armv7-M
 * Architecture Reference Manual", B3.2 (VTOR), B3.3 (SysTick), B3.4 (NVIC).
 *
 * Bytes arrive by interrupt, as in a real core: asking the emulated UART over and over would keep the emulator from
 * taking them off the line.
 */
#include "board.h"
#include "m4_io.h"

typedef struct { volatile uint32_t data, state, control, interrupts, divider; } uart;
typedef struct { volatile uint32_t control, value, reload, interrupts; } timer;
#define UART0 ((uart *)0x40004000u)
#define TIMER0 ((timer *)0x40000000u)
#define SEND_FULL 1u
#define SEND_AND_RECEIVE 3u
#define RECEIVE_INTERRUPT 8u
#define RECEIVED 2u
#define CLOCK_MHZ 25u

#define VTOR (*(volatile uint32_t *)0xE000ED08u)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)
#define SYSTICK 15u
#define UART0_RECEIVE 16u /* external interrupt 0 */

#define ROOM 1024u /* bytes that may wait; a power of two */

int main(void);

typedef void (*handler)(void);
static handler vectors[32] __attribute__((aligned(128)));
static uint8_t waiting[ROOM];
static volatile uint32_t arrived, taken; /* counts; their difference is what waits */

static void receive(void)
{
    UART0->interrupts = RECEIVED;
    waiting[arrived % ROOM] = (uint8_t)UART0->data;
    arrived = arrived + 1u;
}

static void tick(void) {}

static void start_ticks(void)
{
    volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010u;
    systick[1] = CLOCK_MHZ * 1000u - 1u; /* a millisecond */
    systick[2] = 0u;
    systick[0] = 7u; /* run, interrupt, the processor's clock */
}

static void start(void)
{
    const handler *const old = (const handler *)(uintptr_t)VTOR;
    uint32_t i;
    for (i = 0u; i < 16u; i++)
        vectors[i] = old[i];
    vectors[SYSTICK] = tick;
    vectors[UART0_RECEIVE] = receive;
    VTOR = (uint32_t)(uintptr_t)vectors;
    UART0->divider = 217u; /* 115,200 baud; QEMU asks for 16 at least and does not wait */
    UART0->control = SEND_AND_RECEIVE | RECEIVE_INTERRUPT;
    NVIC_ENABLE = 1u;
    TIMER0->reload = 0xFFFFFFFFu;
    TIMER0->value = 0xFFFFFFFFu;
    TIMER0->control = 1u;
    start_ticks();
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
    return (0xFFFFFFFFu - TIMER0->value) / CLOCK_MHZ;
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
