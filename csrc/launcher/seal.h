/* What /proc/self/exe shows of the launcher. */
#ifndef PYRUNTIME_SEAL_H
#define PYRUNTIME_SEAL_H

#include <limits.h>
#include <stdbool.h>

/* Fill `origin` with the path of the installed program; return whether the running one is a sealed copy of it. */
bool find_origin(int self, char origin[PATH_MAX]);

/* Return a descriptor of `file` of path `path` in a view that is read-only for everybody and ever, or -1.

   beside  a directory of the host that is neither above nor below the file's; which one makes no difference */
int read_only_view(int file, const char *path, const char *beside);

/* Turn this process, as it runs, into one of a read-only view of its program; return whether it is that now.

   self    a descriptor of /proc/self/exe, `origin` its path, `beside` as above

   Before anything else is done in the process, so that there is one thread and next to nothing of the program has been
   written to. Where it fails the process goes on with what it was, or with a part of the view. */
bool seal_in_place(int self, const char *origin, const char *beside);

/* Return a sealed memfd with the bytes of `file`, and behind them `origin` where that is not NULL. */
int sealed_copy(int file, const char *name, const char *origin);

/* Execute what `fd` holds. The descriptor closes itself on exec. */
_Noreturn void execute(int fd, char **argv);

#endif
