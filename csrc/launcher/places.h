/* Where this installation has its parts: looked for at run time, from the program's own path on. */
#ifndef PYRUNTIME_PLACES_H
#define PYRUNTIME_PLACES_H

#include <limits.h>

/* Fill `packages` with the directory that holds the package, for the program at `origin` (PREFIX/bin/pyruntime).
   Fails where there is none. */
void find_packages(const char *origin, char packages[PATH_MAX]);

/* Fill `interpreter` with the path of a Python of the version that this was built for. Fails where there is none. */
void find_interpreter(const char *origin, char interpreter[PATH_MAX]);

/* Fill `library` with the directory of that Python's standard library. Fails where there is none. */
void find_library(const char *origin, char library[PATH_MAX]);

#endif
