/* Whether a process can go on under its seccomp filter until execve: then the filter is loaded before processes of the
 * container can trace it. The filter is computed here as the kernel would, for every call that the process may make. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "seccomp_filter.h"
#include "stub.h"
#include "syscalls.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0 /* no filter allows anything then */
#endif
#ifndef SECCOMP_RET_ACTION_FULL
#define SECCOMP_RET_ACTION_FULL 0xffff0000U
#endif
#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif
#ifndef SECCOMP_RET_LOG
#define SECCOMP_RET_LOG 0x7ffc0000U
#endif

/* What Python's init, the stub's and a process of exec call between the loading and execve, with whatever arguments. */
static const int calls[] = {
    /* giving up a capability; waiting for the host and for start */
    SYS_capset, SYS_recvfrom, SYS_sendto, SYS_accept4, SYS_ppoll, SYS_read, SYS_close, SYS_restart_syscall,
    /* a session and its terminal, the working directory, the program, the list of users */
    SYS_setsid, SYS_ioctl, SYS_chdir, SYS_getcwd, SYS_newfstatat, SYS_fstat, SYS_faccessat2, SYS_openat, SYS_pread64,
    SYS_statfs, SYS_getuid, SYS_getgid,
    /* limits, descriptors, signals, the end */
    SYS_prlimit64, SYS_close_range, SYS_fcntl, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_execve,
    SYS_exit_group,
    /* Python */
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex, SYS_getpid, SYS_clock_gettime,
#ifdef SYS_poll
    SYS_poll,
#endif
};

enum { UNKNOWN = SECCOMP_RET_KILL_THREAD };

/* Returns what the filter does with a call, as SECCOMP_RET_*; UNKNOWN if that depends on arguments and there are none. */
static uint32_t action(const struct filter *filter, const struct seccomp_data *call, bool with_arguments) {
    const struct sock_filter *program = filter->program;
    uint32_t accumulator = 0;
    for (uint32_t i = 0; i < filter->length; i++) {
        const struct sock_filter *now = &program[i];
        bool holds;
        switch (now->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (now->k > sizeof *call - sizeof accumulator ||
                (!with_arguments && now->k >= offsetof(struct seccomp_data, instruction_pointer)))
                return UNKNOWN;
            memcpy(&accumulator, (const char *)call + now->k, sizeof accumulator);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            accumulator &= now->k;
            continue;
        case BPF_RET | BPF_K:
            return now->k;
        case BPF_JMP | BPF_JA:
            i += now->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            holds = accumulator == now->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            holds = accumulator > now->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            holds = accumulator >= now->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            holds = (accumulator & now->k) != 0;
            break;
        default:
            return UNKNOWN; /* libseccomp makes no other instruction */
        }
        i += holds ? now->jt : now->jf;
    }
    return UNKNOWN;
}

static bool allows(uint32_t result) {
    return (result & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ALLOW ||
           (result & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_LOG;
}

/* The clone of the process that goes on, as clone_once of spawn.c calls it. */
static bool allows_clone(const struct filter *filter) {
    struct seccomp_data call = {.nr = SYS_clone3, .arch = ARCHITECTURE};
    uint32_t result = action(filter, &call, false);
    if (allows(result))
        return true;
    if (result != (SECCOMP_RET_ERRNO | ENOSYS) && result != (SECCOMP_RET_ERRNO | EPERM))
        return false;
    call = (struct seccomp_data){.nr = SYS_clone, .arch = ARCHITECTURE, .args = {CLONE_PARENT}};
    return allows(action(filter, &call, true));
}

int pyr_filter_lets_go_on(const struct filter *filter) {
    if (filter->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
        return 0; /* the agent must be told of `start` or `exec` first */
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct seccomp_data call = {.nr = calls[i], .arch = ARCHITECTURE};
        if (!allows(action(filter, &call, false)))
            return 0;
    }
    return allows_clone(filter);
}
