/* Texts stay in flash on an AVR, which would copy them to its 2 KB of RAM otherwise. */
#ifndef TEXT_H
#define TEXT_H

#ifdef __AVR__
#include <avr/pgmspace.h>
#define TEXT(text) PSTR(text)
#define TEXT_AT(at) ((char)pgm_read_byte(at))
#else
#define TEXT(text) (text)
#define TEXT_AT(at) (*(at))
#endif

#endif
