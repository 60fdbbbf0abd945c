/* A clone without the host's memory: detach.c. */
#ifndef PYRUNTIME_DETACH_H
#define PYRUNTIME_DETACH_H

#include <stddef.h>
#include <stdint.h>

#include "plan.h"

enum { DETACHED_LIMIT = 32 };

struct detached {
    void *region;             /* where the copies are */
    size_t size;
    int count;                /* mappings that are not forked */
    uintptr_t start[DETACHED_LIMIT];
    size_t length[DETACHED_LIMIT];
};

void detach(struct detached *detached, struct spawn **spawn, struct stub **stub);
void attach_again(struct detached *detached);

#endif
