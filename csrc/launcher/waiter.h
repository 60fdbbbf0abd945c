/* Waits for a program in the foreground without Python: waiter.c. */
#ifndef PYRUNTIME_WAITER_H
#define PYRUNTIME_WAITER_H

#include <limits.h>
#include <stdbool.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct ended {
    int status;              /* exit status of the program, 128+n for signal n */
    int output_error;        /* errno of copying its output, or 0 */
    int terminal_error;      /* the last errno of changing the caller's terminal, or 0 */
    int directory;           /* the descriptor that wait() got, or -1 */
    char text[PATH_MAX];     /* the text that wait() got */
};

/* In a process that was executed to wait: wait, then exit or execute the program again. In a process that was executed
   after that: fill `origin` and `packages` with the paths of the program and return true; waiter_ended has the result.
   Otherwise return false. */
bool waiter(char **argv, char origin[PATH_MAX], char packages[PATH_MAX]);

/* Return how the program has ended, or NULL if this process was not executed after a wait. */
const struct ended *waiter_ended(void);

/* Store what waiter_wait passes on beside its arguments. */
void waiter_begin(char **argv, const char *origin, const char *packages);

/* For Python: wait(pid, pidfd, master, held, directory, always, text). Returns only after a failure, with errno. */
PyObject *waiter_wait(PyObject *module, PyObject *arguments);

#endif
