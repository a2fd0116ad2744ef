/* The monitor as a program of this machine: lines in from standard input, answers to standard output. It forgets
 * everything at its end.
 *
 *     cc -std=c99 -I SohMonitor -I soh/src host.c SohMonitor/[a-z]*.c soh/src/soh.c -o monitor
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
