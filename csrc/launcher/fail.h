/* Errors of the launcher: a line on stderr, and exit status 1. */
#ifndef PYRUNTIME_FAIL_H
#define PYRUNTIME_FAIL_H

_Noreturn void fail(const char *what, const char *detail);

/* The same, with the text of errno. */
_Noreturn void fail_errno(const char *what);

#endif
