"""The system calls that programs in a sandbox may make.

They are those that CPython, Node, compilers, shells and numerical libraries use. All others fail with EPERM, above all
large interfaces of the kernel that ordinary programs do not need: io_uring, userfaultfd, bpf, perf events, keys,
modules, mounts, namespaces, other processes' memory.
"""

import platform
from typing import Any

_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

_ALLOWED = """
    accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_getres
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync
    fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue
    futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list getcpu getcwd getdents getdents64
    getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl ioprio_get kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr
    lremovexattr lseek lsetxattr lstat madvise map_shadow_stack mbind membarrier memfd_create mincore mkdir mkdirat
    mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend
    mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open
    openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl
    pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom
    recvmmsg recvmsg removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setparam sched_yield select
    semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy set_robust_list set_tid_address
    setfsgid setfsuid setgid setgroups setitimer setpgid setregid setresgid setresuid setreuid setrlimit
    setsid setsockopt setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair
    splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times
    tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev
"""

# CLONE_NEW* of clone(2): no new namespaces. clone3 has its flags in memory, where no filter can look: without it the C
# library takes clone.
_NAMESPACES = 0x7E020000
_ENOSYS = 38
_PERSONALITIES = (0x0, 0x8, 0xFFFFFFFF)
_SCHED_OTHER = 0
# The first arguments that name the caller, its thread or its process group, if the second one is 0.
_OWN = {"setpriority": (0, 1), "ioprio_set": (1, 2)}
# Of socket(2): AF_UNIX, AF_INET, AF_INET6; AF_NETLINK only for NETLINK_ROUTE, by which libraries list interfaces.
_FAMILIES = (1, 2, 10)
_NETLINK, _ROUTE = 16, 0


def _when(name: str, *conditions: "tuple[int, int]", **more: object) -> "dict[str, Any]":
    """Return the rule that allows `name` where the arguments have these values."""
    args = [{"index": index, "value": value, "op": "SCMP_CMP_EQ"} for index, value in conditions]
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": args, **more}


def profile() -> "dict[str, Any]":
    """Return the profile as linux.seccomp of config.json; for this machine's own system calls alone."""
    no_namespaces = {"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules = [
        {"names": _ALLOWED.split(), "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespaces]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        # Limits of the calling process alone, not those of the sandbox's first process.
        _when("prlimit64", (0, 0)),
        # The same for priorities: programs of its user could give that process so little time that it starts and ends
        # none. What is not the caller's own may become ordinary, as the C library asks for threads.
        _when("sched_setattr", (0, 0)),
        _when("sched_setscheduler", (0, 0)),
        _when("sched_setscheduler", (1, _SCHED_OTHER)),
        *(_when(name, (0, which), (1, 0)) for name, kinds in _OWN.items() for which in kinds),
        *(_when("personality", (0, value)) for value in _PERSONALITIES),
        *(_when("socket", (0, family)) for family in _FAMILIES),
        _when("socket", (0, _NETLINK), (2, _ROUTE)),
    ]
    found: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": rules}
    machine = _ARCHITECTURES.get(platform.machine())
    if machine:
        found["architectures"] = [machine]
    return found
