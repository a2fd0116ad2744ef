#include <stdint.h>

#if (-1 >> 1) != -1
#error "lnnc needs arithmetic right shifts of negative numbers"
#endif
