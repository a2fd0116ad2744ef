/* Serial line and clock of Arm's MPS2 board with the AN386 image (Cortex-M4), as QEMU emulates it. */
#ifndef LNN_MPS2_BOARD_H
#define LNN_MPS2_BOARD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether a byte has arrived; where none has, it sleeps for a millisecond at most. */
int board_available(void);
uint8_t board_read(void); /* to be asked for only then */
void board_write(uint8_t byte); /* waits for room */

/* Since the start; both wrap around. */
uint32_t board_microseconds(void);
uint32_t board_milliseconds(void);

#ifdef __cplusplus
}
#endif

#endif
