/* The limits, the program's path and execve: execute.c. */
#ifndef PYRUNTIME_EXECUTE_H
#define PYRUNTIME_EXECUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"

int limit_ahead(const struct execution *execution, struct stub *stub, bool closed);

/* cdef: from here on the text is also read by cffi. */

/* The intermediate process and the one that goes on, which may count for RLIMIT_NPROC of their user before execve. */
enum { SPARE_PROCESSES = 2 };

int pyr_limit(int pid, int resource, uint64_t soft, uint64_t hard, uint32_t preserve, uint32_t spare);
int pyr_limit_own(const struct execution *execution, uint32_t spare, uint8_t left[]);
int pyr_prepare(struct execution *execution, struct stub *stub);
int pyr_execute(struct execution *execution, struct stub *stub, int connection);
int pyr_program_head(struct execution *execution);

#endif
