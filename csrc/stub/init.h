/* Init, and a process of exec, without Python: init.c. */
#ifndef PYRUNTIME_INIT_H
#define PYRUNTIME_INIT_H

#include <stdbool.h>

#include "plan.h"

void become_limited(const struct spawn *spawn, struct stub *stub, bool closed);
uint32_t become_before_the_line(struct spawn *spawn, struct stub *stub);
_Noreturn void become_process(const struct spawn *spawn, struct stub *stub, uint32_t done);
_Noreturn void become_init(struct spawn *spawn, struct stub *stub);

#endif
