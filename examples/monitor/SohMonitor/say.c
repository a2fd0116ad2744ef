#include "say.h"
#include "decimal.h"
#include "text.h"

/* --- sending --- */

static void say_char(lines *l, char c)
{
    l->sum = (uint8_t)(l->sum ^ (uint8_t)c);
    l->put(c, l->where);
}

static void say(lines *l, const char *text)
{
    for (; TEXT_AT(text) != '\0'; text++)
        say_char(l, TEXT_AT(text));
}

static void say_digits(lines *l, uint32_t number, uint8_t least)
{
    char digits[11];
    uint8_t i;

    decimal_digits(number, least, digits);
    for (i = 0; digits[i] != '\0'; i++)
        say_char(l, digits[i]);
}

static void say_number(lines *l, const char *before, uint32_t number)
{
    say(l, before);
    say_digits(l, number, 1);
}

static void say_q14(lines *l, int16_t q)
{
    if (q < 0)
        say_char(l, '-');
    say_digits(l, (uint32_t)(q < 0 ? -(int32_t)q : q), 1);
}

static void say_q14s(lines *l, const int16_t *q, uint8_t count)
{
    uint8_t i;

    say(l, TEXT(" q14="));
    for (i = 0; i < count; i++) {
        if (i > 0u)
            say_char(l, ',');
        say_q14(l, q[i]);
    }
}

static void say_end(lines *l)
{
    const char *const hex = TEXT("0123456789ABCDEF");
    const uint8_t sum = l->sum;

    say_char(l, '*');
    say_char(l, TEXT_AT(hex + (sum >> 4)));
    say_char(l, TEXT_AT(hex + (sum & 15u)));
    say_char(l, '\n');
    l->sum = 0;
}

/* --- what can be said --- */

void say_ready(lines *l)
{
    say_number(l, TEXT("ready soh-monitor "), LINES_PROTOCOL);
    say_end(l);
}

static void say_storage(lines *l)
{
    const journal_port *port = l->device->port;

    say(l, TEXT(" storage="));
    if (l->device->failed)
        say(l, TEXT("failed"));
    else if (port == 0)
        say(l, TEXT("ram"));
    else
        say(l, port->kind == STORAGE_EEPROM ? TEXT("eeprom") : TEXT("flash"));
}

void say_status(lines *l)
{
    const monitor *m = l->device;

    say_number(l, TEXT("status cycles="), m->started ? m->last - m->first + 1u : 0u);
    say_number(l, TEXT(" first="), m->first);
    say_number(l, TEXT(" last="), m->last);
    say_number(l, TEXT(" nominal="), m->nominal / MONITOR_UNIT);
    say_char(l, '.');
    say_digits(l, m->nominal % MONITOR_UNIT, 6);
    say_number(l, TEXT(" saved="), m->saved);
    say_storage(l);
    say_end(l);
}

void say_forecast(lines *l)
{
    const monitor *m = l->device;
    const uint8_t remaining = monitor_remaining(m);

    say_number(l, TEXT("forecast "), m->origin);
    say_q14s(l, m->forecast, SOH_OUTPUTS);
    say_end(l);
    say_number(l, TEXT("trust "), m->origin);
    say_q14s(l, monitor_trust(m), MONITOR_EXPERTS);
    say_end(l);
    say_number(l, TEXT("remaining "), m->origin);
    say(l, remaining == MONITOR_BEYOND ? TEXT(" >") : TEXT(" "));
    say_digits(l, remaining == MONITOR_BEYOND ? SOH_OUTPUTS : remaining, 1);
    say_end(l);
}

void say_need(lines *l)
{
    say_number(l, TEXT("need "), monitor_needs(l->device));
    say_end(l);
}

void say_ok(lines *l, const char *what)
{
    say(l, TEXT("ok "));
    say(l, what);
    say_end(l);
}

void say_error(lines *l, const char *what)
{
    say(l, TEXT("error "));
    say(l, what);
    say_end(l);
}

void say_refused(lines *l, const char *what, uint32_t cycle)
{
    say(l, TEXT("error "));
    say(l, what);
    say_number(l, TEXT(" "), cycle);
    say_number(l, TEXT(" need="), monitor_needs(l->device));
    say_end(l);
}

void say_taken(lines *l, uint32_t cycle, int again)
{
    const monitor *m = l->device;

    say_number(l, TEXT("ok "), cycle);
    say(l, TEXT(" q14="));
    say_q14(l, m->value);
    say_number(l, TEXT(" missing="), m->missing);
    if (again)
        say(l, TEXT(" duplicate"));
    if (m->filled > 0u)
        say_number(l, TEXT(" filled="), m->filled);
    if (m->failed)
        say(l, TEXT(" unsaved"));
    say_end(l);
}
