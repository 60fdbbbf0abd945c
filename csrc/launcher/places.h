/* Finds the parts of this installation at run time, relative to the path of the program. */
#ifndef PYRUNTIME_PLACES_H
#define PYRUNTIME_PLACES_H

#include <limits.h>
#include <stdbool.h>

/* Fill `packages` with the directory that holds the package, for the program at `origin` (PREFIX/bin/pyruntime).
   Ends the process if there is none. */
void find_packages(const char *origin, char packages[PATH_MAX]);

/* Fill `interpreter` with the path of a Python of the version that this was built for; return whether there is one. */
bool find_interpreter(const char *origin, char interpreter[PATH_MAX]);

/* Fill `library` with the directory of that Python's standard library. Ends the process if there is none. */
void find_library(const char *origin, char library[PATH_MAX]);

#endif
