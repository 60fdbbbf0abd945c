/* Signals that are held back and taken one by one. A set of them is a number whose bit n - 1 is signal n. */
#ifndef PYRUNTIME_SIGNALS_H
#define PYRUNTIME_SIGNALS_H

#include <stdint.h>

int reset_signals(void);

/* cdef: from here on the text is also read by cffi. */

int pyr_ignored_signals(uint64_t *set);
int pyr_signal_to_end(void);
int pyr_default_signal(int number);
int pyr_block_signals(uint64_t set, uint64_t *before);
int pyr_set_signal_mask(uint64_t set);
int pyr_wait_for_signal(uint64_t set, int milliseconds);
int pyr_hold_deadly_signals(void);
void pyr_wait_or_end(int fd, int signals);

#endif
