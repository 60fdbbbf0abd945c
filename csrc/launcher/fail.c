#include "fail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Noreturn void fail(const char *what, const char *detail) {
    fprintf(stderr, "pyruntime: error: cannot start: %s: %s\n", what, detail);
    _exit(1);
}

_Noreturn void fail_errno(const char *what) { fail(what, strerror(errno)); }
