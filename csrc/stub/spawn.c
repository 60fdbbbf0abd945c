/* The container's first process: clone3 with all new namespaces, joining the given ones, id maps, then the steps.
 *
 * One clone3 makes everything where that is possible. An intermediate process is needed where the kernel puts only
 * *children* into a namespace (pid, time) or where a namespace must be entered before the new ones are made (a joined
 * user namespace, or namespaces of the host joined together with a new user namespace). It clones init with
 * CLONE_PARENT, so that init is the runtime's own child either way, tells its pid and is gone.
 */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "stub.h"
#include "syscalls.h"

struct clone3_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static pid_t clone3(uint64_t flags, int *pidfd, int cgroup) {
    /* A sibling ends with the signal of its maker; the kernel refuses another one. */
    struct clone3_arguments arguments = {.flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD};
    if (pidfd) {
        arguments.flags |= CLONE_PIDFD;
        arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
    }
    if (cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup;
    }
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

#ifdef __x86_64__
/* clone3 for a child that borrows this process's memory, stack included; returns -errno. The child leaves other return
 * addresses on the stack, so this one is kept in a register meanwhile. */
__attribute__((returns_twice)) long pyr_borrow(struct clone3_arguments *arguments, size_t size);
__asm__(".pushsection .text\n"
        ".hidden pyr_borrow\n"
        ".globl pyr_borrow\n"
        ".type pyr_borrow, @function\n"
        "pyr_borrow:\n"
        "    popq %rdx\n"
        "    movl $435, %eax\n" /* clone3 */
        "    syscall\n"
        "    pushq %rdx\n"
        "    ret\n"
        ".size pyr_borrow, . - pyr_borrow\n"
        ".popsection\n");

/* Where the kernel keeps a second stack of return addresses, the child's would be seen as forged in the parent. */
static bool has_shadow_stack(void) {
    uint64_t pointer = 0;
    __asm__("rdsspq %0" : "+r"(pointer)); /* does nothing where there is none */
    return pointer != 0;
}
#else
static bool has_shadow_stack(void) { return false; }

static long pyr_borrow(struct clone3_arguments *arguments, size_t size) {
    arguments->flags &= ~(uint64_t)(CLONE_VM | CLONE_VFORK);
    long pid = syscall(SYS_clone3, arguments, size);
    return pid < 0 ? -errno : pid;
}
#endif

static void report(int sync, struct message_step *message) {
    /* A host that is gone needs no report. */
    (void)!send(sync, message, sizeof *message, MSG_NOSIGNAL);
}

static _Noreturn void die(int sync, uint32_t kind, int index, const char *call, const char *text) {
    struct message_step message = {.kind = kind, .index = index, .error = errno};
    snprintf(message.call, sizeof message.call, "%s", call);
    snprintf(message.text, sizeof message.text, "%s", text);
    report(sync, &message);
    _exit(1);
}

/* Waits for the host's word. Its end closed means that the host died: then nothing may be left of the container. */
static void await_host(int sync) {
    char word;
    ssize_t size;
    do
        size = recv(sync, &word, 1, 0);
    while (size < 0 && errno == EINTR);
    if (size != 1)
        _exit(1);
}

static void join_all(const struct spawn *spawn, uint64_t only, bool tolerate, bool *joined) {
    for (uint32_t i = 0; i < spawn->join_count; i++) {
        const struct join *join = &spawn->joins[i];
        if (joined[i] || !((uint64_t)join->type & only))
            continue;
        if (setns(join->fd, join->type) == 0)
            joined[i] = true;
        else if (!tolerate || errno != EPERM)
            die(spawn->sync, MESSAGE_SPAWN, (int)i, "setns", "");
    }
}

/* The capabilities to join a namespace may come from outside the user namespace to join, or from inside it. */
/* Upholds config-linux.md#namespaces/path-joined. */
static void join_namespaces(const struct spawn *spawn) {
    bool joined[16] = {false};
    /* A cgroup namespace is for init, once it is in its cgroups: from inside, they could not be joined. */
    uint64_t any = ~(uint64_t)CLONE_NEWCGROUP;
    bool user = false;
    for (uint32_t i = 0; i < spawn->join_count; i++)
        user |= spawn->joins[i].type == CLONE_NEWUSER;
    if (user) {
        join_all(spawn, any & ~(uint64_t)CLONE_NEWUSER, true, joined);
        join_all(spawn, CLONE_NEWUSER, false, joined);
    }
    join_all(spawn, any, false, joined);
}

static void become_root(const struct spawn *spawn) {
    if (!(spawn->flags & SPAWN_BECOME_ROOT))
        return;
    if (setresgid(0, 0, 0) < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "setresgid", "");
    if (setresuid(0, 0, 0) < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "setresuid", "");
}

static void set_dumpable(const struct spawn *spawn, unsigned long dumpable) {
    if (prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "prctl", "");
}

static void ask_for_maps(const struct spawn *spawn) {
    /* /proc/PID of a process that is not dumpable is closed to an ordinary user, who has to write the maps there. In
     * a user namespace without maps there is nobody yet who could use the moment. */
    set_dumpable(spawn, 1);
    struct message_step message = {.kind = MESSAGE_MAPS};
    report(spawn->sync, &message);
    await_host(spawn->sync);
    set_dumpable(spawn, 0);
}

/* Opened before any namespace is joined: /proc of a joined mount namespace is what its processes made of it, and
 * /proc/self is closed to a process that has changed its user. The kernel asks for the rights of who opened it. */
static int open_time_offsets(const struct spawn *spawn) {
    if (!spawn->time_offsets)
        return -1;
    int file = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "open", "/proc/self/timens_offsets");
    return file;
}

static void set_time_offsets(const struct spawn *spawn, int file) {
    if (file >= 0 && write(file, spawn->time_offsets, strlen(spawn->time_offsets)) < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "write", "/proc/self/timens_offsets");
}

/* The host's procfs, before a mount namespace is joined in which it may be another. */
static void open_proc(const struct spawn *spawn, struct stub *stub) {
    stub->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (stub->proc < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "open", "/proc");
}

/* "0" is the writing thread itself, which the kernel moves without holding up every fork on the machine, as it would
 * for a pid in cgroup.procs; the rights are those of the host, which opened the files. */
static void join_cgroups(const struct spawn *spawn) {
    for (uint32_t i = 0; i < spawn->task_count; i++)
        if (write(spawn->tasks[i], "0", 1) < 0)
            die(spawn->sync, MESSAGE_SPAWN, -1, "write", "the cgroup's tasks");
}

/* The root of an ipc namespace's message queues belongs to whoever makes the namespace, by its ids of that moment: in
 * a user namespace it is made by root of that, and so not before there are maps. */
static uint64_t late_ipc(const struct spawn *spawn) {
    return spawn->flags & SPAWN_BECOME_ROOT ? spawn->clone_flags & CLONE_NEWIPC : 0;
}

/* In init: what is left to do in the new namespaces before the steps. */
static int init(const struct spawn *spawn, struct stub *stub, const struct step *steps, uint32_t count, bool maps) {
    close(spawn->host_sync);
    if (spawn->flags & SPAWN_VIA) {
        /* Whatever is reported from here on must not reach the host before this process's pid does. */
        await_host(spawn->sync);
    } else {
        set_dumpable(spawn, 0);
        open_proc(spawn, stub);
    }
    if (maps)
        ask_for_maps(spawn);
    /* Not before the last clone: only the host's user may place a process into the cgroup. */
    become_root(spawn);
    if (late_ipc(spawn) && unshare(CLONE_NEWIPC) < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "unshare", "CLONE_NEWIPC");
    if (!(spawn->flags & SPAWN_VIA))
        join_namespaces(spawn);
    join_cgroups(spawn);
    bool joined[16] = {false};
    join_all(spawn, CLONE_NEWCGROUP, false, joined);
    /* Only now does a cgroup namespace have the right root. */
    if (spawn->flags & SPAWN_CGROUP && unshare(CLONE_NEWCGROUP) < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "unshare", "CLONE_NEWCGROUP");
    /* Who may not leave the group again has less room in it, which is no error. */
    if (spawn->back >= 0)
        (void)!write(spawn->back, "0", 1);
    if (spawn->flags & SPAWN_WAIT)
        await_host(spawn->sync);
    int done = pyr_run(stub, steps, count);
    if (done != (int)count)
        die(spawn->sync, MESSAGE_STEP, done, stub->call, stub->text);
    return 0;
}

/* In the intermediate process; returns only in init, its sibling. A function of its own also for the compiler, because
 * the frame of its caller may be the host's: see spawn_via. */
static __attribute__((noinline)) void pass_through(const struct spawn *spawn, struct stub *stub) {
    cleanup_close int offsets = open_time_offsets(spawn);
    open_proc(spawn, stub);
    /* Whoever is in the namespaces to join must not trace this process, nor init, which inherits it: both hold
     * descriptors of the host (CVE-2016-9962). */
    set_dumpable(spawn, 0);
    join_namespaces(spawn);
    if (spawn->flags & SPAWN_MAPS) {
        if (unshare(CLONE_NEWUSER) < 0)
            die(spawn->sync, MESSAGE_SPAWN, -1, "unshare", "CLONE_NEWUSER");
        ask_for_maps(spawn);
    }
    if (spawn->clone_flags & CLONE_NEWTIME) {
        if (unshare(CLONE_NEWTIME) < 0)
            die(spawn->sync, MESSAGE_SPAWN, -1, "unshare", "CLONE_NEWTIME");
        set_time_offsets(spawn, offsets);
    }
    uint64_t flags = spawn->clone_flags & ~(CLONE_NEWUSER | CLONE_NEWTIME | late_ipc(spawn));
    pid_t pid = clone3(flags | CLONE_PARENT, NULL, spawn->cgroup);
    if (pid < 0)
        die(spawn->sync, MESSAGE_SPAWN, -1, "clone3", "");
    if (pid == 0)
        return;
    char message[16];
    int size = snprintf(message, sizeof message, "%c%d", MESSAGE_PID, pid);
    /* A host that is gone needs no pid. */
    (void)!send(spawn->sync, message, (size_t)size, MSG_NOSIGNAL);
    _exit(0);
}

/* To copy all memory for the few calls of the intermediate process takes as long as they do. So it borrows the host's,
 * which sleeps until it has ended (vfork(2)). Not where it must be accompanied or becomes somebody else, nor with the
 * clocks, which the kernel does not change for memory that is shared. */
static bool can_borrow(const struct spawn *spawn) {
    if (has_shadow_stack())
        return false;
    uint64_t kinds = spawn->clone_flags;
    for (uint32_t i = 0; i < spawn->join_count; i++)
        kinds |= (uint64_t)spawn->joins[i].type;
    return !(kinds & (CLONE_NEWUSER | CLONE_NEWTIME));
}

/* Through the intermediate process; as pyr_spawn. The one that borrows never leaves this function, whose frame is also
 * the host's. */
static int spawn_via(const struct spawn *spawn, struct stub *stub, const struct step *steps, uint32_t count, int *pidfd) {
    struct clone3_arguments arguments = {
        .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD};
    volatile int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    long pid;
    if (can_borrow(spawn)) {
        arguments.flags |= CLONE_VM | CLONE_VFORK;
        pid = pyr_borrow(&arguments, sizeof arguments);
        /* A property of the memory, which the borrower has taken away while it could be looked at. */
        if (pid != 0 && dumpable == 1)
            prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    } else {
        pid = clone3(0, pidfd, -1);
        if (pid < 0)
            pid = -errno;
    }
    if (pid != 0)
        return (int)pid;
    pass_through(spawn, stub);
    return init(spawn, stub, steps, count, false);
}

/* Returns the pid of the child (init, or the intermediate process with SPAWN_VIA) in the host, 0 in init once the
 * steps are done, or -errno. In init it does not return when something failed: that was reported on `sync`. */
/* Upholds config-linux.md#namespaces/no-path-is-new. */
int pyr_spawn(const struct spawn *spawn, struct stub *stub, const struct step *steps, uint32_t count, int *pidfd) {
    if (spawn->flags & SPAWN_VIA)
        return spawn_via(spawn, stub, steps, count, pidfd);
    pid_t pid = clone3(spawn->clone_flags & ~late_ipc(spawn), pidfd, spawn->cgroup);
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    return init(spawn, stub, steps, count, (spawn->flags & SPAWN_MAPS) != 0);
}
