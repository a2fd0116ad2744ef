/* The two functions that a compiler may call of its own accord in freestanding C (struct copies, large fills).
 *
 * Generated code must not need them; they are here for the test programs around it. Weak: a runtime of the
 * compiler's own wins.
 */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

__attribute__((weak)) void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    volatile unsigned char *out = (volatile unsigned char *)to;
    const unsigned char *in = (const unsigned char *)from;
    while (bytes-- != 0u) {
        *out++ = *in++;
    }
    return to;
}

__attribute__((weak)) void *memset(void *to, int value, size_t bytes)
{
    volatile unsigned char *out = (volatile unsigned char *)to;
    while (bytes-- != 0u) {
        *out++ = (unsigned char)value;
    }
    return to;
}
