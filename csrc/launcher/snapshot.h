/* A started interpreter as part of the program: snapshot.c. */
#ifndef PYRUNTIME_SNAPSHOT_H
#define PYRUNTIME_SNAPSHOT_H

#include <stdbool.h>

/* Return whether this program contains an interpreter that was started when the program was built. */
bool snapshot_present(void);

/* Start the interpreter with the standard library in the directory `library`, and write the snapshot to `path`. The build
   calls this, and csrc/build/snapshot.py makes the program from it. */
_Noreturn void snapshot_take(const char *path, const char *library);

/* Continue the interpreter of the snapshot in this process.

   origin    path of the program, `packages` the directory of the package */
_Noreturn void snapshot_run(int argc, char **argv, const char *origin, const char *packages);

#endif
