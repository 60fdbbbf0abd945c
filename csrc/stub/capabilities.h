/* Capabilities of the calling process: capabilities.c. */
#ifndef PYRUNTIME_CAPABILITIES_H
#define PYRUNTIME_CAPABILITIES_H

#include <stdint.h>

/* Returns 0 or -errno. */
int set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable);

/* cdef: from here on the text is also read by cffi. */

int pyr_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);

#endif
