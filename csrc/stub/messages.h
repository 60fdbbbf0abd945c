#ifndef PYRUNTIME_MESSAGES_H
#define PYRUNTIME_MESSAGES_H

#include "stub.h"

void tell(int sync, const void *message, size_t size);
void report(int sync, uint32_t kind, enum list list, int index, const char *call, const char *text);
_Noreturn void die_at(int sync, uint32_t kind, enum list list, int index, const char *call, const char *text);
_Noreturn void die(int sync, int index, const char *call, const char *text);
bool hears_go(int sync);
void await_host(int sync);
void run_steps(const struct spawn *spawn, struct stub *stub, enum list list, uint32_t from, uint32_t to);
void set_dumpable(const struct spawn *spawn, unsigned long dumpable);
void ask_for_room(int sync);

#endif
