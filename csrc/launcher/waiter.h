/* The process that waits for a program without Python: waiter.c. */
#ifndef PYRUNTIME_WAITER_H
#define PYRUNTIME_WAITER_H

#include <limits.h>
#include <stdbool.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct ended {
    int status;              /* exit status of the program, 128+n for signal n */
    int output_error;        /* errno with which copying its output ended, or 0 */
    int terminal_error;      /* the last errno with which our terminal refused a change, or 0 */
    int directory;           /* the descriptor that was passed on, or -1 */
    char text[PATH_MAX];     /* what Python has passed on to itself */
};

/* If this process has been executed to wait, wait, and exit or execute the program again. If it has been executed after
   that, fill `origin` and `packages` with the paths that the program had and return true; waiter_ended tells the rest. */
bool waiter(char **argv, char origin[PATH_MAX], char packages[PATH_MAX]);

/* What the program ended with, or NULL if this process was not executed after a wait. */
const struct ended *waiter_ended(void);

/* What a process that is executed to wait has to know beside the arguments of wait(). */
void waiter_begin(char **argv, const char *origin, const char *packages);

/* For Python: wait(pid, pidfd, master, held, directory, always, text). Returns errno if that could not be executed. */
PyObject *waiter_wait(PyObject *module, PyObject *arguments);

#endif
