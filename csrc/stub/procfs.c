/* A procfs of a pid namespace that its mounter is not in, for a container that joins the one of another.
 *
 * While a process has resources of the host, no process in that namespace may see it: with CAP_SYS_PTRACE it could
 * reach the host. From Linux 6.17 on the pid namespace is an option of the mount. Before, a procfs shows the pid
 * namespace of the process that opened its filesystem context, and opening one needs CAP_SYS_ADMIN. So a helper process
 * joins the namespace, and nothing of the host can be reached through it: its root is an empty filesystem, the only one
 * in its mount namespace, it has one socket, and a seccomp filter allows it only to open contexts of procfs and to send
 * them.
 */
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "capabilities.h"
#include "python_calls.h"
#include "sockets.h"
#include "stub.h"
#include "syscalls.h"

enum { SET_FD = 5 /* FSCONFIG_SET_FD */ };

#if defined __x86_64__
enum { NATIVE = AUDIT_ARCH_X86_64 };
#elif defined __aarch64__
enum { NATIVE = AUDIT_ARCH_AARCH64 };
#else
#error "procfs.c lacks the audit architecture of this processor"
#endif

/* ---- The process that goes there ---- */

/* Returns the string "proc" at an address where no process can change it, not even through /proc/PID/mem: a shared
 * mapping of a sealed file that was opened read-only. */
static const char *sealed_name(const struct stub *stub) {
    static const char text[] = "proc";
    cleanup_close int file = memfd_create("procfs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0 || write(file, text, sizeof text) != (ssize_t)sizeof text ||
        fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return NULL;
    cleanup_close int reader = openat(stub->proc, fd_path(file).text, O_RDONLY | O_CLOEXEC);
    if (reader < 0)
        return NULL;
    void *name = mmap(NULL, sizeof text, PROT_READ, MAP_SHARED, reader, 0);
    return name == MAP_FAILED ? NULL : name;
}

/* A mount namespace with an empty filesystem alone. */
static int go_nowhere(void) {
    cleanup_close int context = sys_fsopen("tmpfs");
    if (context < 0 || sys_fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL) < 0 ||
        sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
        return -1;
    cleanup_close int empty = sys_fsmount(context, 0);
    if (empty < 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        sys_move_mount(empty, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -1;
    struct stub nowhere = {.root = empty, .marks = -1};
    static const struct step step = {0};
    /* If the root cannot be pivoted, it stays for processes that may enter mount namespaces. */
    return do_pivot_root(&nowhere, &step) < 0 && do_chroot(&nowhere, &step) < 0 ? -1 : 0;
}

/* Allows only fsopen(2) of the string at `name`, and sending. The supported processors are little-endian. */
static int allow_contexts_only(const char *name) {
    const uint64_t address = (uint64_t)(uintptr_t)name;
    const uint32_t low = (uint32_t)address, high = (uint32_t)(address >> 32);
    enum { ARGUMENT = offsetof(struct seccomp_data, args) };
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 0, 9),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 8, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 7, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsopen, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* Joins the namespace `pid_namespace` and sends `count` contexts over `sock`. Exits with an errno. */
static _Noreturn void send_contexts(const struct stub *stub, int sock, int pid_namespace, uint32_t count) {
    enum { SOCKET, NAMESPACE, FIRST_FREE };
    const uint64_t capabilities = UINT64_C(1) << CAP_SYS_ADMIN;
    const char *name = sealed_name(stub);
    if (!name || go_nowhere() < 0)
        _exit(errno);
    /* Out of each other's way first. */
    int from = fcntl(sock, F_DUPFD_CLOEXEC, FIRST_FREE), to = fcntl(pid_namespace, F_DUPFD_CLOEXEC, FIRST_FREE);
    if (from < 0 || to < 0 || dup2(from, SOCKET) < 0 || dup2(to, NAMESPACE) < 0)
        _exit(errno);
    int answer = pyr_close_range(FIRST_FREE, ~0U, 0);
    if (answer == 0 && setns(NAMESPACE, CLONE_NEWPID) < 0)
        answer = -errno;
    close(NAMESPACE);
    if (answer == 0)
        answer = set_capabilities(capabilities, capabilities, 0);
    if (answer == 0 && allow_contexts_only(name) < 0)
        answer = -errno;
    if (answer < 0)
        _exit(-answer);
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } arguments = {.flags = CLONE_PARENT};
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid != 0)
        _exit(pid < 0 ? errno : 0);
    /* From here on it can be seen there. */
    for (uint32_t i = 0; i < count; i++) {
        int context = sys_fsopen(name);
        answer = context < 0 ? -errno : pyr_send_fd(SOCKET, context, "", 1);
        if (answer < 0)
            _exit(-answer);
    }
    _exit(0);
}

/* Waits for both processes, and returns 0 or -errno, from their exit status. */
static int await_senders(void) {
    int worst = 0, status;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return worst;
        if (status != 0 && worst == 0)
            worst = WIFEXITED(status) ? -WEXITSTATUS(status) : -EPIPE;
    }
}

/* ---- Who mounts ---- */

static bool is_procfs(const struct stub *stub, const struct step *step) {
    return step->op == OP_MOUNT && strcmp(stub_string(stub, step->fstype), "proc") == 0;
}

/* Returns a context by the option of Linux 6.17, or -1: EINVAL if the kernel does not have it. */
static int context_of(int pid_namespace) {
    cleanup_close int context = sys_fsopen("proc");
    if (context < 0 || syscall(SYS_fsconfig, context, SET_FD, "pidns", NULL, pid_namespace) < 0)
        return -1;
    int opened = context;
    context = -1;
    return opened;
}

/* Whether the kernel calls the descriptor a filesystem context. Of anything else nothing may be asked: the answer could be
 * up to the process that sent it. */
static bool is_context(const struct stub *stub, int fd) {
    static const char context[] = "anon_inode:[fscontext]"; /* no file has a name without a slash */
    char name[sizeof context];
    return readlinkat(stub->proc, fd_path(fd).text, name, sizeof name) == sizeof context - 1 &&
           memcmp(name, context, sizeof context - 1) == 0;
}

static int receive_contexts(struct stub *stub, int sock, struct step *steps, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (is_procfs(stub, &steps[i])) {
            int context = pyr_recv_fd(sock);
            if (context < 0)
                return context;
            if (!is_context(stub, context)) {
                close(context);
                return -EBADF;
            }
            steps[i].fd = context;
        }
    return 0;
}

/* Sets the `fd` of each step that mounts a procfs to a filesystem context of `pid_namespace`. To be called only in a
 * process without children. */
int open_procfs(struct stub *stub, struct step *steps, uint32_t count, int pid_namespace) {
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++)
        if (is_procfs(stub, &steps[i])) {
            steps[i].fd = context_of(pid_namespace);
            if (steps[i].fd < 0 && errno != EINVAL)
                return failed(stub, "fsconfig(pidns)");
            wanted += steps[i].fd < 0;
        }
    if (!wanted)
        return 0;
    struct stat status;
    if (fstat(pid_namespace, &status) < 0)
        return failed(stub, "fstat");
    stub->pid_namespace = status.st_ino;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return failed(stub, "socketpair");
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } arguments = {.exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
        close(pair[0]);
        send_contexts(stub, pair[1], pid_namespace, wanted);
    }
    int answer = pid < 0 ? -errno : 0;
    close(pair[1]);
    if (answer == 0) {
        int received = receive_contexts(stub, pair[0], steps, count);
        answer = await_senders();
        if (answer == 0)
            answer = received;
    }
    close(pair[0]);
    if (answer == 0)
        return 0;
    errno = -answer;
    return failed(stub, "fsopen(proc)");
}
