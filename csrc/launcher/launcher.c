/* The `pyruntime` executable: starts Python isolated from its caller, and seals itself before it enters a container.

   Before Python runs, it decides three things:

   1. What /proc/self/exe shows. A container's process must never find a writable host file there (CVE-2019-5736), so
      for every verb that can enter a container the program is sealed first: seal.c says how.
   2. Which code runs. No PYTHON* variable, no `site`, no .pth file, no current directory: the search path is the
      standard library of the interpreter this was built for and the one directory in which the package lies.
   3. How it ends: with _exit, because nothing needs to be torn down.

   There are two builds. With SNAPSHOT the program contains a started interpreter and continues it (snapshot.c). Without,
   it executes the system's interpreter, sealed and isolated in the same way. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "places.h"
#include "seal.h"
#include "snapshot.h"
#ifdef SNAPSHOT
#include "waiter.h"
#endif

/* ---- Verbs that enter no container ---- */

/* Verbs that run on the host only. All others run sealed. */
static const char *const OUTSIDE[] = {"state", "start", "kill",   "delete",   "list",     "ps",      "spec", "validate",
                                      "plan",  "pause", "resume", "features", "explain",  "help",    "timeline", NULL};
/* Global options before the verb: those with a value of their own, and those without. */
static const char *const VALUED[] = {"--root", "--log", "--log-format", "--rootless", "--criu", "--trace", NULL};
/* The verb counts also after --version and --help, because a later "=false" takes those back. */
static const char *const PLAIN[] = {"--debug", "--systemd-cgroup", "--version", "-v", "--help", "-h", NULL};

static bool one_of(const char *const *words, const char *word) {
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

/* Return whether `option` is "--name=value" with a name of VALUED or PLAIN. */
static bool has_inline_value(const char *option) {
    const char *equals = strchr(option, '=');
    char name[32];
    if (!equals || (size_t)(equals - option) >= sizeof name)
        return false;
    memcpy(name, option, equals - option);
    name[equals - option] = '\0';
    return one_of(VALUED, name) || one_of(PLAIN, name);
}

/* Return whether this command line certainly enters no container. */
static bool stays_outside(char **argv) {
    for (argv++; *argv; argv++) {
        if (one_of(VALUED, *argv)) {
            if (!*++argv)
                return true;
        } else if (!one_of(PLAIN, *argv) && !has_inline_value(*argv)) {
            return one_of(OUTSIDE, *argv);
        }
    }
    return true;
}

#ifndef SNAPSHOT
/* Execute the interpreter with the same isolation: -I -S -B, UTF-8 mode, and the package's directory in the Python code.
   That code ends with _exit. */
static _Noreturn void run_interpreter(char **argv, const char *origin, const char *packages, bool sealed) {
    static const char PROGRAM[] = "import sys\n"
                                  "sys.path.append(b'%s'.decode('utf-8', 'surrogateescape'))\n"
                                  "from pyruntime.cli.main import program\n"
                                  "program()\n";
    char quoted[4 * PATH_MAX + 1], *to = quoted, interpreter[PATH_MAX], *program;
    find_interpreter(origin, interpreter);
    for (const char *from = packages; *from; from++)
        to += sprintf(to, "\\x%02x", (unsigned char)*from);
    if (asprintf(&program, PROGRAM, quoted) < 0)
        fail_errno("memory");
    char *flags[] = {interpreter, "-I", "-S", "-B", "-X", "utf8", "-c", program};
    size_t count = sizeof flags / sizeof *flags, words = 1;
    while (argv[words])
        words++;
    char **command = calloc(count + words, sizeof *command);
    if (!command)
        fail_errno("memory");
    memcpy(command, flags, sizeof flags);
    memcpy(command + count, argv + 1, words * sizeof *argv); /* with the terminating NULL */
    if (sealed) {
        int file = open(interpreter, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            fail_errno(interpreter);
        int view = read_only_view(file, interpreter, packages);
        execute(view < 0 ? sealed_copy(file, "python", NULL) : view, command);
    }
    execv(interpreter, command);
    fail_errno(interpreter);
}
#endif

#ifdef SNAPSHOT
/* Seal the program in place, or execute a sealed copy of it. */
static void seal(char **argv, const char *origin, const char *packages) {
    /* O_CLOEXEC: the next program must not inherit it. */
    int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (program < 0)
        fail_errno("open /proc/self/exe");
    if (!seal_in_place(program, origin, packages))
        execute(sealed_copy(program, "pyruntime", origin), argv);
    close(program);
}
#endif

int main(int argc, char **argv) {
    char origin[PATH_MAX], packages[PATH_MAX];
    bool inside = false;
    if (argc < 1)
        fail("argv", "it is empty");
#ifdef SNAPSHOT
    if (!snapshot_present() && argc == 4 && strcmp(argv[1], "--snapshot") == 0)
        snapshot_take(argv[2], argv[3]);
#endif
#ifdef SNAPSHOT
    /* A process that waiter.c has executed after the wait need not be sealed: it only deletes the container. */
    bool begins = !waiter(argv, origin, packages);
#else
    bool begins = true;
#endif
    if (begins) {
        inside = !find_origin(origin) && !stays_outside(argv);
        find_packages(origin, packages);
#ifdef SNAPSHOT
        if (inside)
            seal(argv, origin, packages);
#endif
    }

    /* As in every Python program, a write to a pipe without a reader is an error that is handled; the signal would end the
       verb before it has cleaned up. The container's program and hooks get the default action again. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* the same for a write beyond RLIMIT_FSIZE */
#ifdef SNAPSHOT
    snapshot_run(argc, argv, origin, packages);
#else
    run_interpreter(argv, origin, packages, inside);
#endif
}
