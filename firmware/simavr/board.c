/* An AVR board on simavr whose serial port is a pseudo-terminal of this machine.
 *
 *   board MCU HERTZ IMAGE.elf
 *
 * prints the terminal's name on the first line of stdout and runs until it is killed, its stdin is closed, or the
 * program crashes or its stack reaches its variables. To a byte on stdin it answers a line: the bytes of stack that were
 * used so far, and those that the variables leave. The clock of the board is its own: faster than real time while bytes
 * flow, real time when none do.
 */
#define _GNU_SOURCE /* posix_openpt, cfmakeraw, usleep */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_time.h>

#define POLL_US 200u  /* of the board's time, between two looks at the terminal */
#define IDLE_AFTER 250 /* looks without a byte until the board keeps to real time */
#define PAINT 0xC5u
#define GUARD 8 /* bytes above the variables that the stack may not touch */

static int terminal;      /* our end */
static int ready = 1;     /* the UART has room */
static int idle;          /* looks since the last byte, at most as many as count */
static unsigned looks;
static avr_irq_t *to_uart;
static int answer;             /* our stdout: simavr writes to the one it knows */
static uint8_t *bottom, *top;  /* the RAM above the variables, painted before the start */

/* The stack grows down over the paint. */
static unsigned stack_used(void)
{
    const uint8_t *end = bottom;
    while (end < top && *end == PAINT)
        end++;
    return (unsigned)(top - end);
}

/* A byte asks for the stack; the end of the file ends us. */
static int parent_gone(void)
{
    struct pollfd in = {STDIN_FILENO, POLLIN, 0};
    char byte;
    if (poll(&in, 1, 0) <= 0)
        return 0;
    if (read(STDIN_FILENO, &byte, 1) <= 0)
        return 1;
    dprintf(answer, "%u %u\n", stack_used(), (unsigned)(top - bottom));
    return 0;
}

static void check_stack(void)
{
    int i;
    for (i = 0; i < GUARD; i++)
        if (bottom + i >= top || bottom[i] != PAINT) {
            fprintf(stderr, "board: the stack ran into the variables: they leave it %u bytes\n", (unsigned)(top - bottom));
            exit(1);
        }
}

static void from_uart(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    const uint8_t byte = (uint8_t)value;
    (void)irq;
    (void)unused;
    idle = 0;
    while (write(terminal, &byte, 1) != 1) { /* the other side reads slowly */
        if (parent_gone())
            exit(0);
        usleep(100);
    }
}

static void has_room(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    ready = 1;
}

static void is_full(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)value;
    (void)unused;
    ready = 0;
}

/* Gives the UART what has arrived; a byte for each of its own, which XON and XOFF tell. */
static avr_cycle_count_t look(avr_t *avr, avr_cycle_count_t when, void *unused)
{
    uint8_t byte;
    (void)unused;
    check_stack();
    while (ready && read(terminal, &byte, 1) == 1) {
        idle = 0;
        avr_raise_irq(to_uart, byte);
    }
    if (idle < IDLE_AFTER)
        idle++;
    else
        usleep(POLL_US);
    if (++looks % 64u == 0u && parent_gone())
        exit(0);
    return when + avr_usec_to_cycles(avr, POLL_US);
}

static const char *open_terminal(void)
{
    struct termios mode;
    const char *name;
    int other;
    terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        return 0;
    name = ptsname(terminal);
    other = name ? open(name, O_RDWR | O_NOCTTY) : -1; /* kept open: else the line hangs up when the user closes it */
    if (other < 0 || tcgetattr(other, &mode) != 0)
        return 0;
    cfmakeraw(&mode);
    if (tcsetattr(other, TCSANOW, &mode) != 0)
        return 0;
    (void)fcntl(terminal, F_SETFL, fcntl(terminal, F_GETFL) | O_NONBLOCK);
    return name;
}

static avr_t *load(const char *mcu, const char *hertz, const char *image)
{
    static elf_firmware_t firmware;
    avr_t *avr = avr_make_mcu_by_name(mcu);
    if (!avr || elf_read_firmware(image, &firmware) != 0)
        return 0;
    firmware.frequency = (uint32_t)strtoul(hertz, 0, 10);
    avr_init(avr);
    avr_load_firmware(avr, &firmware);
    avr->log = LOG_ERROR;
    bottom = avr->data + avr->ioend + 1 + firmware.datasize + firmware.bsssize;
    top = avr->data + avr->ramend + 1;
    memset(bottom, PAINT, (size_t)(top - bottom));
    return avr;
}

static void connect_uart(avr_t *avr)
{
    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    to_uart = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), from_uart, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), has_room, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), is_full, 0);
}

int main(int count, char **words)
{
    const char *name = open_terminal();
    int state = cpu_Running;
    avr_t *avr;
    answer = dup(STDOUT_FILENO);
    if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return 2;
    avr = count == 4 ? load(words[1], words[2], words[3]) : 0;
    if (!name || !avr) {
        fputs(count == 4 ? "board: no terminal, or not an image for this processor\n" : "board MCU HERTZ IMAGE.elf\n", stderr);
        return 2;
    }
    connect_uart(avr);
    avr_cycle_timer_register_usec(avr, POLL_US, look, 0);
    dprintf(answer, "%s\n", name);
    while (state != cpu_Done && state != cpu_Crashed)
        state = avr_run(avr);
    fputs("board: the program crashed or ended\n", stderr);
    return 1;
}
