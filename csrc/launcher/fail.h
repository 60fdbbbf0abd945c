/* How the launcher ends where it cannot go on: with the program's error status and a line on stderr. */
#ifndef PYRUNTIME_FAIL_H
#define PYRUNTIME_FAIL_H

_Noreturn void fail(const char *what, const char *detail);

/* The same, with the words for errno. */
_Noreturn void fail_errno(const char *what);

#endif
