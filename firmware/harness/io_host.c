/* The host machine: the whole of stdin goes to harness_run(), harness_write() goes to stdout. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

void harness_write(const void *data, uint32_t bytes)
{
    if (fwrite(data, 1u, bytes, stdout) != bytes) {
        exit(HARNESS_NO_MEMORY);
    }
}

/* Returns a malloc'ed block holding all of stdin, or NULL; *length says how much. */
static uint8_t *read_all(uint32_t *length)
{
    size_t room = 1u << 16;
    size_t have = 0u;
    uint8_t *block = (uint8_t *)malloc(room);
    while (block != NULL) {
        have += fread(block + have, 1u, room - have, stdin);
        if (have < room) {
            break;
        }
        room *= 2u;
        {
            uint8_t *const larger = (uint8_t *)realloc(block, room);
            if (larger == NULL) {
                free(block);
            }
            block = larger;
        }
    }
    *length = (uint32_t)have;
    return block;
}

int main(void)
{
    uint32_t length = 0u;
    uint8_t *const input = read_all(&length);
    int status;
    if (input == NULL) {
        return HARNESS_NO_MEMORY;
    }
    status = harness_run(input, length);
    free(input);
    return fflush(stdout) == 0 ? status : HARNESS_NO_MEMORY;
}
