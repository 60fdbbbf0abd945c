/* The `pyruntime` executable: starts Python isolated from its caller, and seals itself before it enters a container.

   Before Python runs, it decides three things:

   1. What /proc/self/exe shows. A container's process must never find a writable host file there (CVE-2019-5736), so
      for every verb that can enter a container the program is sealed first: seal.c says how.
   2. Which code runs. No PYTHON* variable, no `site`, no .pth file, no current directory: the search path is the
      standard library of the interpreter this was built for and the one directory in which the package lies.
   3. How it ends: with _exit, because nothing needs to be torn down.

   There are two builds. With SNAPSHOT the program contains a started interpreter and continues it (snapshot.c). Without,
   and for a verb whose libraries are shared objects (loader.c), it executes the system's interpreter, sealed and isolated
   in the same way. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "places.h"
#include "seal.h"
#include "snapshot.h"
#ifdef SNAPSHOT
#include "waiter.h"
#endif

/* ---- Verbs ---- */

/* Verbs that run on the host only. All others run sealed. */
static const char *const OUTSIDE[] = {"state", "start", "kill",   "delete",   "list",     "ps",      "spec", "validate",
                                      "plan",  "pause", "resume", "features", "explain",  "help",    "timeline", NULL};
#ifdef SNAPSHOT
/* It is the package's interface for Python, which the user's own interpreter runs: images are unpacked and hashed. */
static const char *const OF_THE_INTERPRETER[] = {"sandbox", NULL};
#endif
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

/* Return the verb of this command line, or "" where it has none. */
static const char *verb_of(char **argv) {
    for (argv++; *argv; argv++) {
        if (one_of(VALUED, *argv)) {
            if (!*++argv)
                return "";
        } else if (!one_of(PLAIN, *argv) && !has_inline_value(*argv)) {
            return *argv;
        }
    }
    return "";
}

/* CPython does not start with a directory as its standard input: it starts without, and `code` puts the directory back. */
static void put_directory_aside(char *code, size_t size) {
    struct stat status;
    *code = '\0';
    if (fstat(0, &status) < 0 || !S_ISDIR(status.st_mode))
        return;
    int aside = dup(0), nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (aside < 0 || nothing < 0 || dup2(nothing, 0) < 0)
        fail_errno("standard input");
    snprintf(code, size, "import posix\nposix.dup2(%d, 0)\nposix.close(%d)\n", aside, aside);
}

/* Execute the interpreter with the same isolation: -I -S -B, UTF-8 mode, and the package's directory in the Python code.
   That code ends with _exit. */
static _Noreturn void run_interpreter(char **argv, const char *origin, const char *packages, bool sealed) {
    static const char PROGRAM[] = "%simport sys\n"
                                  "sys.path.append(b'%s'.decode('utf-8', 'surrogateescape'))\n"
                                  "from pyruntime.cli.main import program\n"
                                  "program()\n";
    char quoted[4 * PATH_MAX + 1], *to = quoted, interpreter[PATH_MAX], back[100], *program;
    if (!find_interpreter(origin, interpreter))
        fail("there is no " PYTHON_X_Y " that this user can execute",
             "install it, or build pyruntime for the Python that is there");
    for (const char *from = packages; *from; from++)
        to += sprintf(to, "\\x%02x", (unsigned char)*from);
    put_directory_aside(back, sizeof back);
    if (asprintf(&program, PROGRAM, back, quoted) < 0)
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
    const char *verb = verb_of(argv);
    if (begins) {
        inside = !find_origin(origin) && *verb && !one_of(OUTSIDE, verb);
        find_packages(origin, packages);
    }

    /* As in every Python program, a write to a pipe without a reader is an error that is handled; the signal would end the
       verb before it has cleaned up. The container's program and hooks get the default action again. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* the same for a write beyond RLIMIT_FSIZE */
#ifdef SNAPSHOT
    if (!one_of(OF_THE_INTERPRETER, verb)) {
        if (inside)
            seal(argv, origin, packages);
        snapshot_run(argc, argv, origin, packages);
    }
#endif
    run_interpreter(argv, origin, packages, inside);
}
