/* Waits for a program in the foreground: foreground.c. */
#ifndef PYRUNTIME_FOREGROUND_H
#define PYRUNTIME_FOREGROUND_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

/* What is waited for, and what came of it. */
struct foreground {
    int32_t pid, pidfd;       /* the program's process, a child of this one */
    int32_t master;           /* of its terminal, which is taken over; or -1 */
    int32_t telling;          /* return after each signal that was passed on */
    int32_t patience;         /* milliseconds without a signal after which to return; -1: for ever */
    int32_t status;           /* its exit status, 128+n for signal n; -1 while it runs */
    int32_t output_error;     /* errno with which copying its output ended, or 0 */
    int32_t terminal_error;   /* the last errno with which our terminal refused a change, or 0 */
    uint64_t held;            /* signals that are blocked and passed on; bit n - 1 is signal n */
    void *terminal;           /* while it is relayed */
};

int pyr_open_foreground(struct foreground *foreground);
int pyr_wait_foreground(struct foreground *foreground);
void pyr_close_foreground(struct foreground *foreground);

#endif
