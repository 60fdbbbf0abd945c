/* What the container's first process, and the host about it, need from the kernel and Python does not offer. */
#include "process.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "stub.h"
#include "syscalls.h"

/* Each function returns 0 (or what it says) or -errno. */
static int answer(long result) { return result < 0 ? -errno : (int)result; }

int pyr_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(effective >> (32 * i));
        data[i].permitted = (uint32_t)(permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    return answer(syscall(SYS_capset, &header, data));
}

int pyr_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    *inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

/* Drops from the bounding set every capability the kernel knows that is not in `keep`. */
int pyr_bound(uint64_t keep) {
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (keep >> capability & 1 || prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
            continue;
        int error = errno;
        int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (held < 0)
            break; /* beyond the last capability of this kernel */
        /* Without CAP_SETPCAP there may be nothing to drop. */
        if (held)
            return -error;
    }
    return 0;
}

int pyr_prctl(int option, unsigned long argument, unsigned long second) {
    return answer(prctl(option, argument, second, 0, 0));
}

int pyr_prlimit(int pid, int resource, uint64_t soft, uint64_t hard) {
    struct rlimit64 limit = {.rlim_cur = soft, .rlim_max = hard};
    return answer(prlimit64(pid, (enum __rlimit_resource)resource, &limit, NULL));
}

/* The kernel gives possession of a named keyring to whoever says its name and may search it: that is how a later exec
 * joins it, and why its name is a secret. Nobody else than who possesses it may view the name, or read or change what is
 * in it; its owner's number is that of every other container without a user namespace. */
int pyr_session_keyring(const char *name) {
    enum { POSSESSOR_ALL = 0x3f000000, OWNER_SEARCH = 0x00080000 };
    long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
    if (ring < 0)
        return -errno;
    return answer(syscall(SYS_keyctl, KEYCTL_SETPERM, ring, POSSESSOR_ALL | OWNER_SEARCH));
}

/* Signals as a new program expects them: default actions, nothing blocked. By system call, because the C library keeps
 * two real-time signals for itself and refuses to touch them. */
int pyr_reset_signals(void) {
    enum { LAST = 64, MASK_BYTES = 8 };
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = {0};
    for (int number = 1; number <= LAST; number++)
        if (number != SIGKILL && number != SIGSTOP && /* which have no other disposition */
            syscall(SYS_rt_sigaction, number, &action, NULL, MASK_BYTES) < 0)
            return -errno;
    uint64_t none = 0;
    return answer(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, MASK_BYTES));
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

int pyr_personality(unsigned long persona) { return answer(personality(persona)); }

int pyr_sched_setattr(int pid, uint32_t policy, uint64_t flags, int32_t nice, uint32_t priority, uint64_t runtime,
                      uint64_t deadline, uint64_t period) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {sizeof attributes, policy, flags, nice, priority, runtime, deadline, period};
    return answer(syscall(SYS_sched_setattr, pid, &attributes, 0));
}

/* For this process, and its children to come. */
int pyr_ioprio_set(int ioclass, int priority) {
    enum { WHO_PROCESS = 1, CLASS_SHIFT = 13 };
    return answer(syscall(SYS_ioprio_set, WHO_PROCESS, 0, ioclass << CLASS_SHIFT | priority));
}

/* `nodes` is a bit mask of `bits` bits. */
int pyr_set_mempolicy(int mode, const unsigned long *nodes, unsigned long bits) {
    return answer(syscall(SYS_set_mempolicy, mode, bits ? nodes : NULL, bits));
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
