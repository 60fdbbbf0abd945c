/* System calls that Python does not offer. */
#include "python_calls.h"

#include <linux/nsfs.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "stub.h"
#include "syscalls.h"

/* Each function returns 0 (or its result) or -errno. */
static int answer(long result) { return result < 0 ? -errno : (int)result; }

int pyr_prctl(int option, unsigned long argument, unsigned long second) {
    return answer(prctl(option, argument, second, 0, 0));
}

/* Makes a system call by its number, with arguments that it refuses; returns its errno, 0 if it does not. */
int pyr_errno_of(long number, const long arguments[5]) {
    long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]);
    return result < 0 ? errno : 0;
}

/* Every descriptor from `first` on closes when the program is executed, or now. */
int pyr_close_range(unsigned first, unsigned last, int at_exec) {
    if (syscall(SYS_close_range, first, last, at_exec ? 4U : 0U) == 0)
        return 0;
    if (errno != ENOSYS && errno != EINVAL)
        return -errno;
    /* Linux before 5.11 has no CLOSE_RANGE_CLOEXEC. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++) {
        if (at_exec)
            fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        else
            close((int)fd);
    }
    return 0;
}

/* Traces process `pid`. A child that it makes with CLONE_PTRACE is traced by this process from its birth: it stops before
 * its first instruction, and nobody else can trace it. If this process ends, the kernel kills both. */
int pyr_hold_children(int pid) { return answer(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL)); }

/* Returns whether the traced process `pid` is stopped, or -errno; and the signal for which it is, 0 at the beginning of a
 * child. */
static int stopped(int pid, long *number) {
    siginfo_t stop = {0};
    if (waitid(P_PID, (id_t)pid, &stop, WSTOPPED | WNOHANG | __WALL) < 0)
        return -errno;
    *number = stop.si_status >> 8 ? 0 : stop.si_status; /* PTRACE_EVENT_STOP is above the signal */
    return stop.si_pid != 0;
}

/* Ends the trace of such a child. Returns 1, or 0 if it has not stopped within a second, or -errno. */
int pyr_let_go(int pid) {
    enum { PAUSE = 50000 /* nanoseconds */, PAUSES = 20000 };
    for (int i = 0; i < PAUSES; i++) {
        long number;
        int stop = stopped(pid, &number);
        if (stop)
            return stop > 0 && ptrace(PTRACE_DETACH, pid, 0, number) < 0 ? -errno : stop;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE}, NULL);
    }
    return 0;
}

/* Lets the traced process `pid` go on if a signal has stopped it. */
int pyr_go_on(int pid) {
    long number;
    int stop = stopped(pid, &number);
    return stop > 0 ? answer(ptrace(PTRACE_CONT, pid, 0, number)) : stop;
}

int pyr_pidfd_open(int pid) { return answer(syscall(SYS_pidfd_open, pid, 0)); }

int pyr_pidfd_send_signal(int pidfd, int number) {
    return answer(syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0));
}

/* openat2(2) for the host's own needs; a descriptor or -errno. */
int pyr_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    return answer(sys_openat2(dirfd, path, flags, mode, resolve));
}

/* The type (CLONE_NEW*) of the namespace `fd`, or -errno: -ENOTTY for anything else (ioctl_ns(2)). */
int pyr_namespace_type(int fd) { return answer(ioctl(fd, NS_GET_NSTYPE)); }

/* A process in a new user namespace that does nothing until it is killed; its pid, or -errno. */
int pyr_user_namespace_process(void) {
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    pid_t parent = getpid();
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() == parent)
        for (;;)
            pause();
    _exit(0);
}

int pyr_sched_setattr(int pid, uint32_t policy, uint64_t flags, int32_t nice, uint32_t priority, uint64_t runtime,
                      uint64_t deadline, uint64_t period) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max; /* the kernel asks for them if a flag is one of SCHED_FLAG_UTIL_CLAMP_* */
    } attributes = {sizeof attributes, policy, flags, nice, priority, runtime, deadline, period, 0, 0};
    return answer(syscall(SYS_sched_setattr, pid, &attributes, 0));
}

/* Sets the nice value under every policy: sched_setattr(2) does so under SCHED_OTHER and SCHED_BATCH alone. Not with the
 * flag that keeps the parameters, of which it is one. */
int pyr_set_nice(int pid, uint64_t flags, int32_t nice) {
    enum { KEEP_PARAMS = 0x10 }; /* <linux/sched.h> */
    return flags & KEEP_PARAMS ? 0 : answer(setpriority(PRIO_PROCESS, (id_t)pid, nice));
}

static int unmount(int mount_namespace, const char *path, uint64_t device, uint64_t inode) {
    if (mount_namespace >= 0 && setns(mount_namespace, CLONE_NEWNS) < 0)
        return errno;
    cleanup_close int place = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (place < 0 || fstat(place, &status) < 0)
        return errno;
    if (inode && (status.st_dev != device || status.st_ino != inode))
        return ESTALE;
    return fchdir(place) < 0 || umount2(".", MNT_DETACH) < 0 ? errno : 0;
}

/* Unmounts what is mounted at `path`, with all below, in this mount namespace (-1) or in another one: the directory
 * `inode` of `device`, unless that is 0. The path is resolved once. 0 or -errno: -ESTALE where another one lies there. */
int pyr_unmount(int mount_namespace, const char *path, uint64_t device, uint64_t inode) {
    pid_t pid = fork(); /* for its working directory */
    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(unmount(mount_namespace, path, device, inode));
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}
