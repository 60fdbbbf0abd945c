/* The limits, the program's path and execve: execute.c. */
#ifndef PYRUNTIME_EXECUTE_H
#define PYRUNTIME_EXECUTE_H

#include <stdint.h>

#include "plan.h"

/* cdef: from here on the text is also read by cffi. */

int pyr_limit(int pid, int resource, uint64_t soft, uint64_t hard, uint32_t preserve);
int pyr_limit_own(const struct execution *execution, uint8_t left[]);
int pyr_prepare(struct execution *execution, struct stub *stub);
int pyr_execute(struct execution *execution, struct stub *stub, int connection);
int pyr_program_head(struct execution *execution);

#endif
