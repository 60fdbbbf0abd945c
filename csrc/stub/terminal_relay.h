/* The host's side of a container's terminal: terminal_relay.c. */
#ifndef PYRUNTIME_TERMINAL_H
#define PYRUNTIME_TERMINAL_H

#include <stdbool.h>

struct terminal;

struct terminal *terminal_open(int master);
int terminal_enter(struct terminal *terminal);
int terminal_fit(struct terminal *terminal);
bool terminal_drained(const struct terminal *terminal);
int terminal_output_error(const struct terminal *terminal);
void terminal_finish(struct terminal *terminal);
int terminal_close(struct terminal *terminal);

/* cdef: from here on the text is also read by cffi. */

int pyr_prepare_terminal(int master);

#endif
