/* Landlock: what the container's process may do with files, TCP ports and other processes (landlock(7)). */
#ifndef PYRUNTIME_LANDLOCK_H
#define PYRUNTIME_LANDLOCK_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

int pyr_landlock_abi(void);
int pyr_landlock_ruleset(uint64_t fs, uint64_t net, uint64_t scoped);
int pyr_landlock_path(int ruleset, const char *path, uint64_t access);
int pyr_landlock_port(int ruleset, uint64_t port, uint64_t access);
int pyr_landlock_restrict(int ruleset);

#endif
