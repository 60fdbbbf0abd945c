/* The process that waits for a program in the foreground without Python.

   `run` and `exec` wait as long as the container's program runs, and need no interpreter for that. So the process executes
   pyruntime again: the kernel frees all its memory, and the pages of the program are shared by all such processes. The
   stub's foreground.c waits. If something is left to do when the program has ended, the process executes pyruntime once
   more, which continues in Python: it deletes the container, or prints warnings.

   execve(2) keeps the children of the process, its descriptors and blocked signals, and the command line is the same. All
   other data is in a sealed memfd, whose descriptor is in a variable of the environment. A caller who can set only the
   environment has no such descriptor. The data includes the path of the program, because after sealing (seal.c)
   /proc/self/exe does not show it any more. */
#include "waiter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail.h"
#include "foreground.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8U
#endif
#define VARIABLE "PYRUNTIME_WAITS"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
enum { FAILED = 255 /* exit status */ };

static const char MAGIC[16] = "pyruntime waits";
static const char ITSELF[] = "/proc/self/exe";

extern char **environ;

struct waiting {
    char magic[sizeof MAGIC];
    struct foreground foreground;
    int32_t directory;       /* a descriptor for the process after the wait, or -1 */
    int32_t always;          /* whether Python continues in any case */
    char origin[PATH_MAX], packages[PATH_MAX], text[PATH_MAX];
};

static struct ended ended = {.status = -1};

const struct ended *waiter_ended(void) { return ended.status < 0 ? NULL : &ended; }

/* ---- In the process that was executed ---- */

/* Read the memfd; return whether it has the seals and the content of one that keep() makes. */
static bool read_waiting(int fd, struct waiting *waiting) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS) == SEALS &&
           pread(fd, waiting, sizeof *waiting, 0) == sizeof *waiting &&
           memcmp(waiting->magic, MAGIC, sizeof MAGIC) == 0;
}

/* Return whether Python has to continue. */
static bool to_go_on(const struct waiting *waiting) {
    const struct foreground *foreground = &waiting->foreground;
    /* Python may print a warning: SIGKILL can mean that memory ran out, SIGSYS that a seccomp filter forbids a call. */
    return waiting->always || foreground->status == 128 + SIGKILL || foreground->status == 128 + SIGSYS ||
           foreground->output_error || foreground->terminal_error;
}

static _Noreturn void wait_here(int fd, struct waiting *waiting, char **argv) {
    struct foreground *foreground = &waiting->foreground;
    int result = pyr_open_foreground(foreground);
    result = result < 0 ? result : pyr_wait_foreground(foreground);
    pyr_close_foreground(foreground);
    if (result < 0) {
        fprintf(stderr, "pyruntime: error: cannot wait for the program: %s\n", strerror(-result));
        foreground->status = FAILED;
    }
    if (!to_go_on(waiting))
        _exit(foreground->status);
    char words[64];
    snprintf(words, sizeof words, "%d %d %d %d", fd, foreground->status, foreground->output_error,
             foreground->terminal_error);
    if (setenv(VARIABLE, words, 1) == 0)
        execve(ITSELF, argv, environ);
    fail_errno("execve after the program has ended");
}

bool waiter(char **argv, char origin[PATH_MAX], char packages[PATH_MAX]) {
    static struct waiting waiting;
    const char *words = getenv(VARIABLE);
    if (!words)
        return false;
    int fd, found = sscanf(words, "%d %d %d %d", &fd, &ended.status, &ended.output_error, &ended.terminal_error);
    if ((found != 1 && found != 4) || !read_waiting(fd, &waiting))
        fail("the variable " VARIABLE, "it is pyruntime's own");
    if (found == 1)
        wait_here(fd, &waiting, argv);
    unsetenv(VARIABLE);
    close(fd);
    ended.directory = waiting.directory;
    if (ended.directory >= 0 && fcntl(ended.directory, F_SETFD, FD_CLOEXEC) < 0)
        fail_errno("fcntl after the program has ended");
    memcpy(ended.text, waiting.text, sizeof ended.text);
    memcpy(origin, waiting.origin, sizeof waiting.origin);
    memcpy(packages, waiting.packages, sizeof waiting.packages);
    return true;
}

/* ---- Before the execution ---- */

static struct {
    char **argv;
    const char *origin, *packages;
} own;

void waiter_begin(char **argv, const char *origin, const char *packages) {
    own.argv = argv;
    own.origin = origin;
    own.packages = packages;
}

/* Return a sealed memfd with `waiting`, which the next program inherits, or -1. */
static int keep(const struct waiting *waiting) {
    int fd = memfd_create("pyruntime-waits", MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* Linux before 6.3 does not have the flag; later ones can require it */
        fd = memfd_create("pyruntime-waits", MFD_ALLOW_SEALING);
    if (fd >= 0 && write(fd, waiting, sizeof *waiting) == sizeof *waiting && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* Set the flags of the descriptors: 0 lets the next program inherit them, FD_CLOEXEC does not. Return 0 or -1. */
static int pass_on(const int *descriptors, size_t count, int flags) {
    for (size_t index = 0; index < count; index++)
        if (descriptors[index] >= 0 && fcntl(descriptors[index], F_SETFD, flags) < 0)
            return -1;
    return 0;
}

PyObject *waiter_wait(PyObject *module, PyObject *arguments) {
    static struct waiting waiting;
    struct foreground *foreground = &waiting.foreground;
    unsigned long long held;
    const char *text;
    Py_ssize_t size;
    int always;
    (void)module;
    *foreground = (struct foreground){.patience = -1, .status = -1};
    if (!PyArg_ParseTuple(arguments, "iiiKips#", &foreground->pid, &foreground->pidfd, &foreground->master, &held,
                          &waiting.directory, &always, &text, &size))
        return NULL;
    if (size >= PATH_MAX)
        return PyLong_FromLong(ENAMETOOLONG);
    foreground->held = held;
    waiting.always = always;
    memcpy(waiting.magic, MAGIC, sizeof MAGIC);
    memcpy(waiting.text, text, (size_t)size + 1);
    snprintf(waiting.origin, PATH_MAX, "%s", own.origin);
    snprintf(waiting.packages, PATH_MAX, "%s", own.packages);
    const int passed[] = {foreground->pidfd, foreground->master, waiting.directory};
    char words[16];
    int fd = keep(&waiting);
    if (fd >= 0 && snprintf(words, sizeof words, "%d", fd) > 0 && setenv(VARIABLE, words, 1) == 0) {
        if (pass_on(passed, 3, 0) == 0)
            execve(ITSELF, own.argv, environ);
        int error = errno;
        pass_on(passed, 3, FD_CLOEXEC);
        unsetenv(VARIABLE);
        errno = error;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    return PyLong_FromLong(error);
}
