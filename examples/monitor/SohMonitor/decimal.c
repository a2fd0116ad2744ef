#include "decimal.h"

#define PLACES 6u

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int add_digit(uint32_t *number, char digit)
{
    const uint32_t value = (uint32_t)(digit - '0');

    if (*number > (UINT32_MAX - value) / 10u)
        return -1;
    *number = *number * 10u + value;
    return 0;
}

/* The places behind the point: what is missing counts as 0, the seventh rounds, more say nothing new. */
static int read_places(const char **text, uint32_t *number)
{
    uint8_t i;

    for (i = 0; i < PLACES; i++)
        if (add_digit(number, is_digit(**text) ? *(*text)++ : '0') != 0)
            return -1;
    if (is_digit(**text) && **text >= '5') {
        if (*number == UINT32_MAX)
            return -1;
        ++*number;
    }
    while (is_digit(**text))
        ++*text;
    return 0;
}

int decimal_read(const char *text, uint32_t *millionths)
{
    uint32_t number = 0;
    int digits = 0;

    for (; is_digit(*text); text++, digits = 1)
        if (add_digit(&number, *text) != 0)
            return -1;
    if (*text == '.') {
        text++;
        if (!digits && !is_digit(*text))
            return -1;
    } else if (!digits || *text != '\0') {
        return -1;
    }
    if (read_places(&text, &number) != 0 || *text != '\0')
        return -1;
    *millionths = number;
    return 0;
}

int decimal_read_whole(const char *text, uint32_t *number)
{
    uint32_t value = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++)
        if (!is_digit(*text) || add_digit(&value, *text) != 0)
            return -1;
    *number = value;
    return 0;
}

void decimal_digits(uint32_t number, uint8_t least, char *to)
{
    char backwards[10];
    uint8_t n = 0, i;

    while (number > 0u || n < least) {
        backwards[n++] = (char)('0' + (int)(number % 10u));
        number /= 10u;
    }
    for (i = 0; i < n; i++)
        to[i] = backwards[n - 1u - i];
    to[n] = '\0';
}
