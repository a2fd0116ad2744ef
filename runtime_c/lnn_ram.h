/* Tables in RAM: the start-up code copies them from flash, and every load from them is fast. GCC would
 * put arrays that nobody writes back into flash, but for the section. */
#if defined(__GNUC__) && defined(__ELF__)
#define LNN_RAM __attribute__((section(".data.lnn")))
#else
#define LNN_RAM
#endif
#define LNN_FLASH
#define LNN_U8(p) (*(p))
#define LNN_S8(p) (*(p))
#define LNN_S16(p) (*(p))
#define LNN_S32(p) (*(p))
