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

/* The memory that has nothing in it but what Python allocated, up to an empty extent. Of the program with the interpreter in
 * it (csrc/launcher/cpython.c); nowhere else is it known. */
extern const struct extent *python_memory(void) __attribute__((weak));

struct detached {
    void *region;             /* where the copies are; NULL where nothing is left out */
    size_t size;
    const struct extent *memory;
};

void detach(struct detached *detached, struct spawn **spawn, struct stub **stub);
void attach_again(const struct detached *detached);

#endif
