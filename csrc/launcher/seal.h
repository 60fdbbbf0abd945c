/* Seals the launcher: /proc/self/exe then leads to no file that can be written (CVE-2019-5736). */
#ifndef PYRUNTIME_SEAL_H
#define PYRUNTIME_SEAL_H

#include <limits.h>
#include <stdbool.h>

/* Fill `origin` with the path of the installed program; return whether the running one is a sealed copy of it. */
bool find_origin(char origin[PATH_MAX]);

/* Return a descriptor of `file`, whose path is `path`, in an overlay that nobody can make writable, or -1.

   beside  any directory of the host that is neither above nor below the file's */
int read_only_view(int file, const char *path, const char *beside);

/* Map the running program again from a read-only view of its file; return whether /proc/self/exe shows that view.

   self    a descriptor of /proc/self/exe, `origin` its path, `beside` as above

   To be called first in a process, when it has one thread and has written to few pages of the program. After a failure
   the process still works, but a part of the program may be mapped from the view. */
bool seal_in_place(int self, const char *origin, const char *beside);

/* Return a sealed memfd with the bytes of `file`, followed by `origin` if that is not NULL. */
int sealed_copy(int file, const char *name, const char *origin);

/* Execute the program in `fd`, a descriptor with FD_CLOEXEC. */
_Noreturn void execute(int fd, char **argv);

#endif
