/* What a snapshot must know of CPython's insides: the one place that differs between its versions. */
#ifndef PYRUNTIME_CPYTHON_H
#define PYRUNTIME_CPYTHON_H

#include <Python.h>

/* Let the frames of Python's functions, which are asked for as memory of the kernel, be part of the arena too. */
void cpython_begin(void);

/* Make `modules`, which end with a NULL name, known beside those frozen into CPython. */
void cpython_add_frozen(const struct _frozen *modules);

/* Make everything that is reachable from the list `objects` immortal (PEP 683), where this CPython can. */
void cpython_make_immortal(PyObject *objects);

/* Leave the interpreter so that any thread of any process can go on with it; return its state. */
PyThreadState *cpython_leave(void);

/* Go on with it, in this process and thread. */
void cpython_enter(PyThreadState *state);

#endif
