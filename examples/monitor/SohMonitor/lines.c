#include "lines.h"
#include "decimal.h"
#include "say.h"
#include "text.h"

#define WORDS 4u

/* --- commands --- */

void lines_report(lines *l, uint32_t cycle, monitor_result result)
{
    switch (result) {
    case MONITOR_OK:
        if (l->device->forecasts && l->device->origin + l->device->filled >= cycle)
            say_forecast(l);
        say_taken(l, cycle, 0);
        break;
    case MONITOR_DUPLICATE:
        say_taken(l, cycle, 1);
        break;
    case MONITOR_OLD:
        say_refused(l, TEXT("old"), cycle);
        break;
    case MONITOR_GAP:
        say_refused(l, TEXT("gap"), cycle);
        break;
    default:
        say_refused(l, TEXT("range"), cycle);
        break;
    }
}

typedef struct {
    const char *word[WORDS];
    uint8_t count;
} command;

static int is(const char *word, const char *text)
{
    while (*word != '\0' && *word == TEXT_AT(text)) {
        word++;
        text++;
    }
    return *word == TEXT_AT(text);
}

/* Cuts the line into words, in place. Returns -1 when there are too many. */
static int split(char *line, command *c)
{
    c->count = 0;
    for (;;) {
        while (*line == ' ')
            *line++ = '\0';
        if (*line == '\0')
            return 0;
        if (c->count == WORDS)
            return -1;
        c->word[c->count++] = line;
        while (*line != '\0' && *line != ' ')
            line++;
    }
}

static void do_cycle(lines *l, const command *c, monitor_result (*feed)(monitor *, uint32_t, uint32_t, int))
{
    const int fill = c->count == 4u;
    uint32_t cycle = 0, value = 0;

    if (c->count < 3u || (fill && !is(c->word[3], TEXT("fill"))))
        say_error(l, TEXT("command"));
    else if (decimal_read_whole(c->word[1], &cycle) != 0 || decimal_read(c->word[2], &value) != 0)
        say_error(l, TEXT("number"));
    else
        lines_report(l, cycle, feed(l->device, cycle, value, fill));
}

static void do_nominal(lines *l, const char *word)
{
    uint32_t nominal;
    monitor_result result;

    if (decimal_read(word, &nominal) != 0) {
        say_error(l, TEXT("number"));
        return;
    }
    result = monitor_set_nominal(l->device, nominal);
    if (result == MONITOR_OK)
        say_ok(l, TEXT("nominal"));
    else
        say_error(l, result == MONITOR_LOCKED ? TEXT("locked") : TEXT("range"));
}

static void do_check(lines *l, const char *word)
{
    if (!is(word, TEXT("on")) && !is(word, TEXT("off"))) {
        say_error(l, TEXT("command"));
        return;
    }
    l->checked = is(word, TEXT("on")) != 0;
    say_ok(l, TEXT("check"));
}

static void do_status(lines *l)
{
    say_ready(l);
    say_status(l);
    say_need(l);
    say_ok(l, TEXT("status"));
}

static void do_forecast(lines *l)
{
    if (!l->device->forecasts) {
        say_error(l, TEXT("none"));
        return;
    }
    say_forecast(l);
    say_ok(l, TEXT("forecast"));
}

static void do_reset(lines *l)
{
    monitor_reset(l->device);
    say_ok(l, TEXT("reset"));
}

static void obey(lines *l, const command *c)
{
    const char *const name = c->word[0];

    if (is(name, TEXT("cap")))
        do_cycle(l, c, monitor_feed_capacity);
    else if (is(name, TEXT("soh")))
        do_cycle(l, c, monitor_feed_soh);
    else if (is(name, TEXT("nominal")) && c->count == 2u)
        do_nominal(l, c->word[1]);
    else if (is(name, TEXT("check")) && c->count == 2u)
        do_check(l, c->word[1]);
    else if (is(name, TEXT("status")) && c->count == 1u)
        do_status(l);
    else if (is(name, TEXT("forecast")) && c->count == 1u)
        do_forecast(l);
    else if (is(name, TEXT("reset")) && c->count == 1u)
        do_reset(l);
    else
        say_error(l, TEXT("command"));
}

/* --- receiving --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes *hh off the line. Returns 0 when it is right, or left out where it may be. */
static int check(char *line, uint8_t demanded)
{
    uint8_t sum = 0;
    int high, low;

    for (; *line != '\0' && *line != '*'; line++)
        sum = (uint8_t)(sum ^ (uint8_t)*line);
    if (*line == '\0')
        return demanded ? -1 : 0;
    high = hex_value(line[1]);
    low = high < 0 ? -1 : hex_value(line[2]);
    if (low < 0 || line[3] != '\0' || high * 16 + low != (int)sum)
        return -1;
    *line = '\0';
    return 0;
}

static void end_of_line(lines *l)
{
    command c;

    l->line[l->length] = '\0';
    if (check(l->line, l->checked) != 0)
        say_error(l, TEXT("checksum"));
    else if (split(l->line, &c) != 0)
        say_error(l, TEXT("command"));
    else if (c.count > 0u)
        obey(l, &c);
}

void lines_take(lines *l, char c)
{
    if (c == '\n' || c == '\r') {
        if (l->length > LINES_LONGEST)
            say_error(l, TEXT("long"));
        else if (l->length > 0u)
            end_of_line(l);
        l->length = 0;
    } else if (l->length < LINES_LONGEST) {
        l->line[l->length++] = c < ' ' || c > '~' ? '?' : c; /* nothing ends a line early */
    } else {
        l->length = LINES_LONGEST + 1u;
    }
}

void lines_begin(lines *l, monitor *device, lines_put put, void *where)
{
    l->device = device;
    l->put = put;
    l->where = where;
    l->length = l->sum = l->checked = 0;
}

void lines_hello(lines *l)
{
    say_ready(l);
    say_status(l);
    if (l->device->forecasts)
        say_forecast(l);
    say_need(l);
}
