/* The build defines PYTHON_X_Y ("python3.11") and PYTHON_BIN, the directory of the interpreter of the build. PYTHON_BIN
   is searched last, because the program may have been built on another machine. */
#include "places.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

/* Directories below the program's prefix in which pip and distributions install packages. The first match is used. */
static const char *const PACKAGES[] = {
    "lib/" PYTHON_X_Y "/site-packages", "lib/" PYTHON_X_Y "/dist-packages", "lib64/" PYTHON_X_Y "/site-packages",
    "lib/python3/dist-packages",        NULL,
};

/* Directories of the system's interpreters. */
static const char *const SYSTEM[] = {"/usr/bin", "/usr/local/bin", PYTHON_BIN, NULL};

/* Return the length of the prefix in `origin`: PREFIX of PREFIX/bin/pyruntime. */
static int prefix_of(const char *origin) {
    int length = (int)strlen(origin);
    for (int up = 0; up < 2; up++)
        while (length > 0 && origin[--length] != '/')
            ;
    return length;
}

/* Fill `path` with `length` bytes of `folder`, a slash and `name`; return whether access(2) allows `mode` on it. */
static bool there(char path[PATH_MAX], const char *folder, int length, const char *name, int mode) {
    return snprintf(path, PATH_MAX, "%.*s/%s", length, folder, name) < PATH_MAX && access(path, mode) == 0;
}

void find_packages(const char *origin, char packages[PATH_MAX]) {
    int prefix = prefix_of(origin);
    char probe[PATH_MAX];
    for (const char *const *place = PACKAGES; *place; place++) {
        int length = snprintf(packages, PATH_MAX, "%.*s/%s", prefix, origin, *place);
        if (length < PATH_MAX && there(probe, packages, length, "pyruntime/__init__.py", F_OK))
            return;
    }
    fail("the package pyruntime is not installed beside", origin);
}

/* Fill `home` with the value of `home` in the pyvenv.cfg of a virtual environment; return whether there is one. */
static bool home_of_environment(const char *origin, char home[PATH_MAX]) {
    char path[PATH_MAX], line[PATH_MAX + 16];
    bool found = false;
    FILE *file = there(path, origin, prefix_of(origin), "pyvenv.cfg", R_OK) ? fopen(path, "re") : NULL;
    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, " home = %4095[^\n]", home) == 1;
    if (file)
        fclose(file);
    return found;
}

/* Call `suits` with each directory that may have the interpreter until it returns true; `suits` fills `path`. */
static bool search(const char *origin, bool (*suits)(char *path, const char *folder, int length), char *path) {
    char folder[PATH_MAX];
    const char *name = strrchr(origin, '/');
    if (suits(path, origin, name ? (int)(name - origin) : 0))
        return true;
    if (home_of_environment(origin, folder) && suits(path, folder, (int)strlen(folder)))
        return true;
    for (const char *const *place = SYSTEM; *place; place++)
        if (suits(path, *place, (int)strlen(*place)))
            return true;
    return false;
}

static bool has_interpreter(char *path, const char *folder, int length) {
    return there(path, folder, length, PYTHON_X_Y, X_OK);
}

static bool has_library(char *path, const char *folder, int length) {
    if (!there(path, folder, length, "../lib/" PYTHON_X_Y "/os.py", R_OK))
        return false;
    *strrchr(path, '/') = '\0';
    return true;
}

bool find_interpreter(const char *origin, char interpreter[PATH_MAX]) {
    return search(origin, has_interpreter, interpreter);
}

void find_library(const char *origin, char library[PATH_MAX]) {
    if (!search(origin, has_library, library))
        fail("there is no standard library of " PYTHON_X_Y " that this user can read",
             "install it, or build pyruntime for the Python that is there");
}
