/* The verification firmware without Arduino: what a port to any other board has to bring. */
#include "board.h"
#include "lnn_device.h"

static lnn_device device;
static const lnn_device_port port = {board_write, board_microseconds, 1000000u, "MPS2 AN386, bare metal"};

int main(void)
{
    lnn_device_start(&device, &port);
    for (;;) {
        if (board_available())
            lnn_device_take(&device, board_read());
    }
}
