/* Landlock: what the container's process may do with files, TCP ports and other processes (landlock(7)). */
#ifndef PYRUNTIME_LANDLOCK_H
#define PYRUNTIME_LANDLOCK_H

#include <stdint.h>

int landlock_restrict(int ruleset);

/* cdef: from here on the text is also read by cffi. */

int pyr_landlock_abi(void);

#endif
