/* The monitor as a program of this machine: lines in from standard input, answers to standard output. It forgets
 * everything at its end. From the root of the repository, with the library that docs/monitor.md has made in soh:
 *
 *     cc -std=c99 -I examples/monitor/SohMonitor -I soh/src examples/monitor/host.c \
 *         examples/monitor/SohMonitor/[a-z]*.c soh/src/soh.c -o monitor
 */
#include "lines.h"
#include <stdio.h>

static monitor device;
static lines console;

static void put(char c, void *where)
{
    putc(c, (FILE *)where);
}

int main(void)
{
    int c;

    monitor_begin(&device, 0);
    lines_begin(&console, &device, put, stdout);
    lines_hello(&console);
    while ((c = getchar()) != EOF)
        lines_take(&console, (char)c);
    return 0;
}
