#if defined(__AVR__)
#include <avr/pgmspace.h>
#define LNN_FLASH PROGMEM
#define LNN_U8(p) ((uint8_t)pgm_read_byte(p))
#define LNN_S8(p) ((int8_t)pgm_read_byte(p))
#define LNN_S16(p) ((int16_t)pgm_read_word(p))
#define LNN_S32(p) ((int32_t)pgm_read_dword(p))
#else
#define LNN_FLASH
#define LNN_U8(p) (*(p))
#define LNN_S8(p) (*(p))
#define LNN_S16(p) (*(p))
#define LNN_S32(p) (*(p))
#endif
