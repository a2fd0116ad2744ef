/* Decimal numbers of up to six places as whole millionths: 1.0853 Ah is 1,085,300 uAh. No floats. */
#ifndef DECIMAL_H
#define DECIMAL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads "12", "0.9866", ".5"; a seventh place rounds, halves up. Returns 0, or -1 and leaves *millionths alone when
 * the text is anything else or the number needs more than 32 bits. */
int decimal_read(const char *text, uint32_t *millionths);

/* Reads digits only. */
int decimal_read_whole(const char *text, uint32_t *number);

/* The digits of a number, at least `least` of them, and a 0 behind; `to` has room for 11. */
void decimal_digits(uint32_t number, uint8_t least, char *to);

#ifdef __cplusplus
}
#endif

#endif
