/* The parts of CPython's internal state that a snapshot changes. Only this file differs between versions of CPython. */
#ifndef PYRUNTIME_CPYTHON_H
#define PYRUNTIME_CPYTHON_H

#include <Python.h>

/* Allocate the frames of Python's functions in the arena too. CPython would allocate them with mmap(2). */
void cpython_begin(void);

/* Add `modules`, which end with a NULL name, to the modules that are frozen into CPython. */
void cpython_add_frozen(const struct _frozen *modules);

/* Save each process work on what is reachable from the list `objects`: it becomes immortal (PEP 683), or, with 3.11, its
   code is specialized (PEP 659). */
void cpython_prepare(PyObject *objects);

/* Release the interpreter so that a thread of another process can continue it; return its state. */
PyThreadState *cpython_leave(void);

/* Continue the interpreter of `state` in this process and thread. */
void cpython_enter(PyThreadState *state);

#endif
