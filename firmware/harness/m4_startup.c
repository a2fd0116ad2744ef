/* Start of the Cortex-M4 test image: vector table, memory, FPU, traps, and what to do when the processor faults.
 *
 * Registers: Armv7-M Architecture Reference Manual, B3.2 (CPACR, CCR, CFSR, HFSR, MMFAR, BFAR).
 */
#include "m4_io.h"

#define CCR (*(volatile uint32_t *)0xE000ED14u)
#define CFSR (*(volatile uint32_t *)0xE000ED28u)
#define HFSR (*(volatile uint32_t *)0xE000ED2Cu)
#define BFAR (*(volatile uint32_t *)0xE000ED38u)
#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define CCR_UNALIGN_TRP (1u << 3)
#define CCR_DIV_0_TRP (1u << 4)

extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _stack_top[];

void Reset_Handler(void);
void Fault_Handler(void);
void start(void);
void report_fault(const uint32_t *frame);

typedef union { void (*handler)(void); uint32_t *stack; } vector;

/* Reset, NMI, HardFault, MemManage, BusFault, UsageFault, 4 reserved, SVCall, debug, reserved, PendSV, SysTick */
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = _stack_top},      {.handler = Reset_Handler}, {.handler = Fault_Handler}, {.handler = Fault_Handler},
    {.handler = Fault_Handler}, {.handler = Fault_Handler}, {.handler = Fault_Handler}, {.handler = 0},
    {.handler = 0},             {.handler = 0},             {.handler = 0},             {.handler = Fault_Handler},
    {.handler = Fault_Handler}, {.handler = 0},             {.handler = Fault_Handler}, {.handler = Fault_Handler},
};

/* The FPU must be on before compiled code runs: -mfloat-abi=softfp lets the compiler use its registers anywhere. */
__attribute__((naked, noreturn)) void Reset_Handler(void)
{
    __asm volatile(
        "ldr r0, =_stack_top \n"
        "mov sp, r0          \n"
        "ldr r0, =0xE000ED88 \n"
        "ldr r1, [r0]        \n"
        "orr r1, r1, #0xF00000 \n"
        "str r1, [r0]        \n"
        "dsb                 \n"
        "isb                 \n"
        "bl start            \n"
        "b .                 \n"
        ".ltorg              \n");
}

void start(void)
{
    const uint32_t *from = _sidata;
    uint32_t *to;
    for (to = _sdata; to != _edata; to++) {
        *to = *from++;
    }
    for (to = _sbss; to != _ebss; to++) {
        *to = 0u;
    }
#ifndef M4_ALLOW_UNALIGNED
    /* A word read at an odd halfword is legal on a Cortex-M4, but slow there and a fault on other cores. */
    CCR |= CCR_UNALIGN_TRP;
#endif
    CCR |= CCR_DIV_0_TRP;
    __asm volatile("dsb \n isb \n" ::: "memory");
    m4_exit(m4_run());
}

/* Hands the stacked frame (r0-r3, r12, lr, pc, xpsr) to report_fault() on a stack known to be good. */
__attribute__((naked)) void Fault_Handler(void)
{
    __asm volatile(
        "mrs r0, msp         \n"
        "ldr r1, =_stack_top \n"
        "subs r1, r1, #32    \n"
        "cmp r0, r1          \n"
        "bls 1f              \n"
        "mov r0, r1          \n"
        "1: bl report_fault  \n"
        "b .                 \n"
        ".ltorg              \n");
}

void report_fault(const uint32_t *frame)
{
    m4_complain("HardFault at pc", frame[6]);
    m4_complain("called from lr", frame[5]);
    m4_complain("CFSR", CFSR);
    m4_complain("HFSR", HFSR);
    m4_complain("address (BFAR)", BFAR);
    if ((CFSR & (1u << 24)) != 0u) {
        m4_complain("an unaligned word access (UsageFault UNALIGNED)", CFSR >> 16);
    }
    m4_exit(HARNESS_FAULT);
}
