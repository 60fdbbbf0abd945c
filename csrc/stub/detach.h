/* A clone without Python's memory: detach.c. */
#ifndef PYRUNTIME_DETACH_H
#define PYRUNTIME_DETACH_H

#include <stddef.h>
#include <stdint.h>

#include "plan.h"

/* Whole pages. */
struct extent {
    uintptr_t begin, end;
};

/* The memory that contains only what Python allocated; the last extent is empty. Only the program that contains the
 * interpreter has this list (csrc/launcher/cpython.c). */
extern const struct extent *python_memory(void) __attribute__((weak));

struct detached {
    void *region;             /* where the copies are; NULL where nothing is left out */
    size_t size;
    const struct extent *memory;
};

void detach(struct detached *detached, struct spawn **spawn, struct stub **stub);
void attach_again(const struct detached *detached);
void clear_command_line(void);

#endif
