/* A started interpreter as part of the program: snapshot.c. */
#ifndef PYRUNTIME_SNAPSHOT_H
#define PYRUNTIME_SNAPSHOT_H

#include <stdbool.h>

/* Whether this program holds an interpreter that was started when it was built. */
bool snapshot_present(void);

/* Start the interpreter with the standard library in the directory `library`, and write to `path` what
   csrc/build/snapshot.py makes the program of. The build calls this. */
_Noreturn void snapshot_take(const char *path, const char *library);

/* Go on with the interpreter of the snapshot in this process.

   origin    path of the program, `packages` the directory of the package */
_Noreturn void snapshot_run(int argc, char **argv, const char *origin, const char *packages);

#endif
