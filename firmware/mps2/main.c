/* The verification firmware without Arduino: what a port to any other board has to bring. */
#include "board.h"
#include "lnn_device.h"

static lnn_device device;
/* No ticks: the emulator's clock is that of the computer it runs on. */
static const lnn_device_port port = {board_write, 0, 0u, "MPS2 AN386, bare metal"};

int main(void)
{
    lnn_device_start(&device, &port);
    for (;;) {
        if (board_available())
            lnn_device_take(&device, board_read());
    }
}
