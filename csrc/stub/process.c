/* What the container's process sets for itself: one function for each step of plan/process.py (config.md#process,
 * #user).
 *
 * Nothing here allocates memory: the process may be a copy of the host process without the allocator's pages.
 */
#include <grp.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "python_calls.h"
#include "stub.h"
#include "syscalls.h"

/* The label has no effect before execve. A child inherits it. */
int do_label(struct stub *stub, const struct step *step) {
    int answer = -ENOENT;
    for (const char *name = stub_string(stub, step->data); *name; name += strlen(name) + 1) {
        char path[64];
        snprintf(path, sizeof path, "self/attr/%s", name);
        answer = pyr_write_attribute(stub->proc, path, stub_string(stub, step->source));
        if (answer != -ENXIO)
            break;
    }
    return result_of(stub, "write", answer);
}

/* If the kernel has no keyrings, the container cannot use any. Any other failure is an error, because the container
 * would keep the caller's keyring: a policy that forbids the runtime this call need not forbid it to the container. */
int do_keyring(struct stub *stub, const struct step *step) {
    enum { POSSESSOR_ALL = 0x3f000000, OWNER_SEARCH = 0x00080000 };
    long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, stub_string(stub, step->data));
    if (ring >= 0 && syscall(SYS_keyctl, KEYCTL_SETPERM, ring, POSSESSOR_ALL | OWNER_SEARCH) >= 0)
        return 0;
    return errno == ENOSYS ? 0 : failed(stub, "keyctl");
}

int do_terminal(struct stub *stub, const struct step *step) {
    int terminal = stub->terminal;
    struct winsize size = {
        .ws_row = (unsigned short)step->value[VALUE_ROWS], .ws_col = (unsigned short)step->value[VALUE_COLUMNS]};
    if ((size.ws_row || size.ws_col) && ioctl(terminal, TIOCSWINSZ, &size) < 0)
        return failed(stub, "ioctl(TIOCSWINSZ)");
    for (int stream = 0; stream < 3; stream++)
        if (dup2(terminal, stream) < 0)
            return failed(stub, "dup2");
    if (terminal > 2)
        close(terminal);
    stub->terminal = -1;
    return 0;
}

int do_setsid(struct stub *stub, const struct step *step) {
    if (setsid() < 0)
        return failed(stub, "setsid");
    if (step->value[VALUE_CONTROLLING] && ioctl(0, TIOCSCTTY, 0) < 0)
        return failed(stub, "ioctl(TIOCSCTTY)");
    return 0;
}

static bool is_null(const struct stat *status) {
    return S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3); /* mem(4) */
}

/* Replaces `stream` by the container's null device, if it has one. The host's device leads to a mount outside of the
 * container, and CRIU could not restore it. */
static void use_own_null(int stream) {
    struct stat status;
    if (lstat("/dev/null", &status) < 0 || !is_null(&status))
        return;
    cleanup_close int null = open("/dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    if (null >= 0 && fstat(null, &status) == 0 && is_null(&status))
        dup2(null, stream);
}

/* Makes the user the owner of the streams, so that it can open them again through /proc/self/fd. Only of pipes, sockets
 * and the terminal made for the container: the caller's own terminal, and files and devices of the host, keep their
 * owner, because others use them too. */
int do_stdio(struct stub *stub, const struct step *step) {
    for (int stream = 0; stream < 3; stream++) {
        struct stat status;
        int result = fstat(stream, &status);
        if (result == 0 && is_null(&status))
            use_own_null(stream);
        else if (result == 0 && status.st_uid != step->uid &&
                 (step->value[VALUE_MADE] || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
            result = fchown(stream, step->uid, (gid_t)-1);
        /* The stream is closed, on a read-only filesystem, or has an owner that the user namespace does not map: it
         * stays as it is. */
        if (result < 0 && errno != EBADF && errno != EINVAL && errno != EPERM && errno != EROFS)
            return failed(stub, "fchown");
    }
    return 0;
}

/* Tells whether the working directory is below the root: getcwd(2) has no path for any other. */
static bool is_inside(void) {
    char path[PATH_MAX];
    return syscall(SYS_getcwd, path, sizeof path) > 0 && path[0] == '/';
}

/* Called twice: the user may enter directories that root cannot enter (on NFS, or in a user namespace), and the
 * reverse. Only a failure of the second call is an error. That call also comes after the process has its entry in the
 * container's /proc. */
int do_chdir(struct stub *stub, const struct step *step) {
    bool tolerant = step->value[VALUE_TOLERANT];
    if (chdir(stub_string(stub, step->path)) < 0) {
        /* Root has entered it before. The user may stay there even if it could not enter by itself. */
        if (tolerant || (errno == EACCES && stub->entered == step->path))
            return 0;
        return failed(stub, "chdir");
    }
    if (is_inside()) {
        stub->entered = step->path;
        return 0;
    }
    errno = EXDEV;
    return failed(stub, "getcwd");
}

int do_umask(struct stub *stub, const struct step *step) {
    (void)stub;
    umask((mode_t)step->value[VALUE_MASK]);
    return 0;
}

enum { UNMAPPED = 65534 }; /* the number of a group that the user namespace does not map (user_namespaces(7)) */

/* Tells whether the process has no groups but the wanted ones, which are at most `gid`, and groups that its user
 * namespace does not map. If the namespace denies setgroups(2), as that of a user without privileges that maps one id,
 * nothing can remove these. */
static bool has_no_more(const struct stub *stub, const struct step *step) {
    for (uint32_t i = 0; i < step->list_size; i++) {
        uint32_t group;
        memcpy(&group, stub_string(stub, step->list) + i * sizeof group, sizeof group);
        if (group != step->gid)
            return false;
    }
    gid_t groups[1024]; /* who has more gets the error */
    int count = getgroups(sizeof groups / sizeof *groups, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] != step->gid && groups[i] != UNMAPPED)
            return false;
    return count >= 0;
}

static int set_groups(struct stub *stub, const struct step *step) {
    /* By system call: the C library's function would call it in every thread, and search for threads first. */
    if (syscall(SYS_setgroups, (size_t)step->list_size, stub_string(stub, step->list)) == 0)
        return 0;
    int error = errno;
    if (error == EPERM && has_no_more(stub, step))
        return 0;
    if (error == EPERM)
        snprintf(stub->text, sizeof stub->text, "the user namespace may deny it: its /proc/PID/setgroups says so");
    errno = error;
    return failed(stub, "setgroups");
}

int do_user(struct stub *stub, const struct step *step) {
    if (step->value[VALUE_SETGROUPS]) {
        if (step->list_size > NGROUPS_MAX) {
            snprintf(stub->text, sizeof stub->text, "too many groups");
            errno = EINVAL;
            return failed(stub, "setgroups");
        }
        if (set_groups(stub, step) < 0)
            return -1;
    }
    if (syscall(SYS_setresgid, step->gid, step->gid, step->gid) < 0)
        return failed(stub, "setresgid");
    if (syscall(SYS_setresuid, step->uid, step->uid, step->uid) < 0)
        return failed(stub, "setresuid");
    /* The kernel has set it to the system's default (fs.suid_dumpable), which may be 1. */
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? failed(stub, "prctl(PR_SET_DUMPABLE)") : 0;
}

int do_no_new_privs(struct stub *stub, const struct step *step) {
    (void)step;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? failed(stub, "prctl(PR_SET_NO_NEW_PRIVS)") : 0;
}

int do_personality(struct stub *stub, const struct step *step) {
    return personality((unsigned long)step->value[VALUE_PERSONA]) < 0 ? failed(stub, "personality") : 0;
}

int do_sched_setattr(struct stub *stub, const struct step *step) {
    const uint64_t *value = step->value;
    uint64_t flags = value[VALUE_SCHED_FLAGS];
    int32_t nice = (int32_t)value[VALUE_NICE];
    int answer = pyr_sched_setattr(0, (uint32_t)value[VALUE_POLICY], flags, nice, (uint32_t)value[VALUE_PRIORITY],
                                   value[VALUE_RUNTIME], value[VALUE_DEADLINE], value[VALUE_PERIOD]);
    if (answer < 0)
        return result_of(stub, "sched_setattr", answer);
    return result_of(stub, "setpriority", pyr_set_nice(0, flags, nice));
}

enum { LIST_WORDS = 8192 / 64 }; /* CPUs or memory nodes, 64 in a word: NR_CPUS of the largest kernels, MAX_NUMNODES */

/* The kernel leaves out what it does not have, or does not allow here, if anything remains. */
static int check_list(struct stub *stub, const struct step *step, const char *kind, const uint64_t *used) {
    for (uint32_t word = 0; word < step->list_size; word++) {
        uint64_t wanted;
        memcpy(&wanted, stub_string(stub, step->list) + word * sizeof wanted, sizeof wanted);
        uint64_t left = wanted & ~used[word];
        if (left) {
            snprintf(stub->text, sizeof stub->text, "%s %u is not there, or not allowed in this cgroup", kind,
                     word * 64 + (unsigned)__builtin_ctzll(left));
            errno = EINVAL;
            return failed(stub, "check");
        }
    }
    return 0;
}

int do_sched_setaffinity(struct stub *stub, const struct step *step) {
    size_t size = step->list_size * sizeof(uint64_t);
    uint64_t used[LIST_WORDS] = {0};
    if (syscall(SYS_sched_setaffinity, 0, size, stub_string(stub, step->list)) < 0)
        return failed(stub, "sched_setaffinity");
    if (syscall(SYS_sched_getaffinity, 0, sizeof used, used) < 0)
        return failed(stub, "sched_getaffinity");
    return check_list(stub, step, "CPU", used);
}

int do_ioprio_set(struct stub *stub, const struct step *step) {
    enum { WHO_PROCESS = 1, CLASS_SHIFT = 13 };
    uint64_t priority = step->value[VALUE_IOCLASS] << CLASS_SHIFT | step->value[VALUE_LEVEL];
    return syscall(SYS_ioprio_set, WHO_PROCESS, 0, (int)priority) < 0 ? failed(stub, "ioprio_set") : 0;
}

/* Whether the mode means all of its nodes as they are. MPOL_PREFERRED takes the first of them; with the two flags the
 * kernel maps them to those that are allowed at each time. */
static bool is_literal(int mode) {
    return mode != MPOL_PREFERRED && !(mode & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES));
}

/* The kernel reads one bit less than the number that it gets (set_mempolicy(2)). */
int do_set_mempolicy(struct stub *stub, const struct step *step) {
    unsigned long bits = step->list_size ? step->list_size * 64UL + 1 : 0;
    const unsigned long *nodes = (const unsigned long *)(const void *)stub_string(stub, step->list);
    int mode = (int)step->value[VALUE_MODE];
    if (syscall(SYS_set_mempolicy, mode, bits ? nodes : NULL, bits) < 0)
        return failed(stub, "set_mempolicy");
    if (!bits || !is_literal(mode))
        return 0;
    uint64_t used[LIST_WORDS] = {0};
    if (syscall(SYS_get_mempolicy, NULL, used, sizeof used * 8 + 1, NULL, 0) < 0)
        return failed(stub, "get_mempolicy");
    return check_list(stub, step, "memory node", used);
}

int do_prlimit(struct stub *stub, const struct step *step) {
    const uint64_t *value = step->value;
    struct rlimit64 limit = {.rlim_cur = value[VALUE_SOFT], .rlim_max = value[VALUE_HARD]};
    return prlimit64(0, (enum __rlimit_resource)value[VALUE_RESOURCE], &limit, NULL) < 0 ? failed(stub, "prlimit") : 0;
}

/* Lowering the score needs a privilege; keeping it needs none. Upholds config.md#linux-process/oom-score-set. */
int do_oom_score_adj(struct stub *stub, const struct step *step) {
    char text[16] = "";
    int wanted = (int)step->value[VALUE_SCORE];
    cleanup_close int file = openat(stub->proc, "self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (file < 0)
        return failed(stub, "openat(oom_score_adj)");
    if (read(file, text, sizeof text - 1) > 0 && atoi(text) == wanted)
        return 0;
    int size = snprintf(text, sizeof text, "%d", wanted);
    return pwrite(file, text, (size_t)size, 0) < 0 ? failed(stub, "write(oom_score_adj)") : 0;
}
