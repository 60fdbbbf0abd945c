/* Creates the container's first process: clone3 with all new namespaces, setns for the given ones, id maps, the steps.
 *
 * If possible, one clone3 makes everything. An intermediate process is needed in two cases: the kernel puts only
 * *children* into a namespace (pid, time), or a namespace must be entered before the new ones are made (a joined user
 * namespace, or namespaces of the host joined together with a new user namespace). The intermediate process clones init
 * with CLONE_PARENT, so that init is the runtime's own child in each case, sends its pid and exits.
 *
 * If the pid namespace is another container's, the intermediate process does all work of init that needs the host, and
 * clones init after that: see pyr_cross. exec always works in this way.
 */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "detach.h"
#include "init.h"
#include "mapped_files.h"
#include "messages.h"
#include "sockets.h"
#include "stub.h"
#include "syscalls.h"

struct clone3_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static pid_t clone3(uint64_t flags, int *pidfd, int cgroup) {
    /* A sibling has the exit signal of the process that clones it; the kernel refuses another one. */
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

/* Filters cannot look into the arguments of clone3, so many of them refuse it and allow clone. pyr_cross is called under
 * the container's. */
static pid_t clone_once(uint64_t flags) {
    pid_t pid = clone3(flags | CLONE_PARENT, NULL, -1);
    if (pid >= 0 || (errno != ENOSYS && errno != EPERM))
        return pid;
    return (pid_t)syscall(SYS_clone, (unsigned long)(flags | CLONE_PARENT), 0UL, 0UL, 0UL, 0UL);
}

static pid_t clone_sibling(int sync, uint64_t flags) {
    pid_t pid = clone_once(flags);
    if (pid >= 0 || errno != EAGAIN)
        return pid;
    ask_for_room(sync);
    return clone_once(flags);
}

/* Opens the filesystem contexts of the procfs to mount, before setns(2) puts the children of this process into the pid
 * namespace. Returns whether this is done. `tolerate` ignores EPERM: a user namespace may give the privileges later. */
static bool prepare_procfs(const struct spawn *spawn, struct stub *stub, bool tolerate) {
    for (uint32_t i = 0; i < spawn->join_count && !(spawn->flags & SPAWN_EXEC); i++) {
        int fd = spawn->joins[i].fd;
        if (spawn->joins[i].type != CLONE_NEWPID)
            continue;
        int result = open_procfs(stub, spawn->build, spawn->build_count, fd);
        if (result < 0 && errno == EAGAIN) {
            ask_for_room(spawn->sync);
            result = open_procfs(stub, spawn->build, spawn->build_count, fd);
        }
        if (result < 0 && tolerate && errno == EPERM)
            return false;
        if (result < 0)
            die(spawn->sync, -1, stub->call, "a procfs of the pid namespace to join");
    }
    return true;
}

static void join_all(const struct spawn *spawn, uint64_t only, bool tolerate, bool *joined) {
    for (uint32_t i = 0; i < spawn->join_count; i++) {
        const struct join *join = &spawn->joins[i];
        if (joined[i] || !((uint64_t)join->type & only))
            continue;
        if (setns(join->fd, join->type) == 0)
            joined[i] = true;
        else if (!tolerate || errno != EPERM)
            die(spawn->sync, (int)i, "setns", "");
    }
}

/* Joining a namespace may need capabilities outside of the user namespace to join, or inside it: both are tried. */
/* Upholds config-linux.md#namespaces/path-joined. */
static void join_namespaces(const struct spawn *spawn, struct stub *stub) {
    bool joined[16] = {false};
    /* Init joins a cgroup namespace later, after its cgroups: from inside the namespace it could not join them. */
    uint64_t any = ~(uint64_t)CLONE_NEWCGROUP;
    bool user = false;
    for (uint32_t i = 0; i < spawn->join_count; i++)
        user |= spawn->joins[i].type == CLONE_NEWUSER;
    bool prepared = prepare_procfs(spawn, stub, user);
    if (user) {
        uint64_t later = CLONE_NEWUSER | (prepared ? 0 : CLONE_NEWPID);
        join_all(spawn, any & ~later, true, joined);
        join_all(spawn, CLONE_NEWUSER, false, joined);
        if (!prepared)
            prepare_procfs(spawn, stub, false);
    }
    join_all(spawn, any, false, joined);
}

static void become_root(const struct spawn *spawn) {
    if (!(spawn->flags & SPAWN_BECOME_ROOT))
        return;
    /* The container's user namespace may have no id 0. A process of exec works nevertheless: with the overflow id it has
     * all capabilities there, too. A container could not be made in that way. */
    int tolerated = spawn->flags & SPAWN_EXEC ? EINVAL : 0;
    if (setresgid(0, 0, 0) < 0 && errno != tolerated)
        die(spawn->sync, -1, "setresgid", "");
    if (setresuid(0, 0, 0) < 0 && errno != tolerated)
        die(spawn->sync, -1, "setresuid", "");
    /* The kernel has set it to the system's default (fs.suid_dumpable), which may be 1. */
    set_dumpable(spawn, 0);
}

static void ask_for_maps(const struct spawn *spawn) {
    /* An ordinary user cannot open /proc/PID of a process that is not dumpable, but must write the maps there. It is
     * safe to be dumpable now: a user namespace without maps has no other process that could trace this one. */
    set_dumpable(spawn, 1);
    static const char maps = MESSAGE_MAPS;
    tell(spawn->sync, &maps, sizeof maps);
    await_host(spawn->sync);
    set_dumpable(spawn, 0);
}

/* Opened before any namespace is joined, for two reasons: processes of a joined mount namespace may have changed its
 * /proc, and a process that has changed its user cannot open /proc/self. The kernel checks the opener's rights. */
static int open_time_offsets(const struct spawn *spawn) {
    if (!spawn->time_offsets)
        return -1;
    int file = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        die(spawn->sync, -1, "open", "/proc/self/timens_offsets");
    return file;
}

static void set_time_offsets(const struct spawn *spawn, int file) {
    if (file >= 0 && write(file, spawn->time_offsets, strlen(spawn->time_offsets)) < 0)
        die(spawn->sync, -1, "write", "/proc/self/timens_offsets");
}

/* Opens the host's procfs, before a mount namespace is joined that may have another one at /proc; uses it once. */
static void open_proc(const struct spawn *spawn, struct stub *stub) {
    stub->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (stub->proc < 0)
        die(spawn->sync, -1, "open", "/proc");
    if (spawn->flags & SPAWN_COPY_FILES && copy_mapped_files(stub) < 0)
        die(spawn->sync, -1, stub->call, "a copy of the libraries in memory");
}

/* "0" means the writing thread. The kernel moves it without the lock that delays every fork on the machine, which a pid
 * in cgroup.procs would need. The kernel checks the rights of the host process, which opened the files. */
static void join_cgroups(const struct spawn *spawn) {
    for (uint32_t i = 0; i < spawn->task_count; i++)
        if (write(spawn->tasks[i], "0", 1) < 0)
            die(spawn->sync, -1, "write", "the cgroup's tasks");
}

/* The root of the message queues of an IPC namespace belongs to the ids that its creator has at that moment. In a user
 * namespace the creator must be root there, so the IPC namespace is made after the id maps are written. */
static uint64_t late_ipc(const struct spawn *spawn) {
    return spawn->flags & SPAWN_BECOME_ROOT ? spawn->clone_flags & CLONE_NEWIPC : 0;
}

/* The kernel limits the mask to the CPUs of the cgroup. If it refuses the mask, the caller's mask stays. */
static void allow_all_cpus(void) {
    unsigned char all[1024]; /* 8192 CPUs: CONFIG_NR_CPUS is no larger */
    memset(all, 0xff, sizeof all);
    (void)!syscall(SYS_sched_setaffinity, 0, sizeof all, all);
}

/* Joins the groups, and then joins or makes the cgroup namespace: a new one has these groups as its root. */
static void enter_cgroups(const struct spawn *spawn) {
    join_cgroups(spawn);
    if (spawn->flags & SPAWN_ALL_CPUS)
        allow_all_cpus();
    bool joined[16] = {false};
    join_all(spawn, CLONE_NEWCGROUP, false, joined);
    if (spawn->flags & SPAWN_CGROUP && unshare(CLONE_NEWCGROUP) < 0)
        die(spawn->sync, -1, "unshare", "CLONE_NEWCGROUP");
    /* If the process may not leave the memory group again, it uses some of its limit. That is no error. */
    if (spawn->back >= 0)
        (void)!write(spawn->back, "0", 1);
}

static void tell_begun(const struct spawn *spawn) {
    static const char begun = MESSAGE_BEGUN;
    tell(spawn->sync, &begun, sizeof begun);
}

/* ---- Init of a new container ---- */

/* Runs in init: prepares the new namespaces, then runs the steps. */
static int init(struct spawn *spawn, struct stub *stub, bool maps) {
    uint64_t begin = mark_begin(stub);
    if (spawn->flags & SPAWN_VIA) {
        /* The host must get the pid of this process before any report of this process. */
        await_host(spawn->sync);
    } else {
        set_dumpable(spawn, 0);
        open_proc(spawn, stub);
        if (maps)
            ask_for_maps(spawn);
        become_root(spawn);
        if (late_ipc(spawn) && unshare(CLONE_NEWIPC) < 0)
            die(spawn->sync, -1, "unshare", "CLONE_NEWIPC");
        join_namespaces(spawn, stub);
        begin = mark(stub, STAGE_NAMESPACES, begin);
        enter_cgroups(spawn);
        mark(stub, STAGE_CGROUPS, begin);
        if (spawn->flags & SPAWN_TELL && spawn->cgroup < 0)
            tell_begun(spawn);
    }
    if (spawn->flags & SPAWN_WAIT)
        await_host(spawn->sync);
    run_steps(spawn, stub, LIST_BUILD, 0, spawn->build_count);
    if (spawn->execution)
        become_init(spawn, stub);
    return 0;
}

/* ---- The intermediate process ---- */

static bool tell_pid(int sync, pid_t pid) {
    char message[16];
    int size = snprintf(message, sizeof message, "%c%d", MESSAGE_PID, pid);
    return pyr_send(sync, message, (uint32_t)size) >= 0;
}

/* Sends `pid` to the host, which continues with that process; this one exits. */
static _Noreturn void leave_to(int sync, pid_t pid) {
    if (tell_pid(sync, pid))
        _exit(0);
    kill(pid, SIGKILL); /* the host does not have its pid, so it would wait for ever */
    _exit(1);
}

/* The intermediate process is in no pid namespace of the container, so no process there can reach the resources of the
 * host that it has. They are used and closed before the last clone makes a process that can be seen (CVE-2016-9962,
 * CVE-2024-21626). It also leaves the caller's session and process group: a process that is caught in them could type
 * on the caller's terminal (ioctl_tty(2), TIOCSTI) and send signals to the caller.
 *
 * Returns in the sibling, which is init. With SPAWN_CROSS it returns in the intermediate process itself, which then does
 * the work of init until pyr_cross. */
static void pass_through(struct spawn *spawn, struct stub *stub) {
    uint64_t begin = mark_begin(stub);
    if (setsid() < 0)
        die(spawn->sync, -1, "setsid", "");
    cleanup_close int offsets = open_time_offsets(spawn);
    open_proc(spawn, stub);
    if (spawn->flags & SPAWN_EXEC)
        become_limited(spawn, stub, false);
    set_dumpable(spawn, 0);
    join_namespaces(spawn, stub);
    if (spawn->flags & SPAWN_MAPS) {
        if (unshare(CLONE_NEWUSER) < 0)
            die(spawn->sync, -1, "unshare", "CLONE_NEWUSER");
        ask_for_maps(spawn);
    }
    if (spawn->clone_flags & CLONE_NEWTIME) {
        if (unshare(CLONE_NEWTIME) < 0)
            die(spawn->sync, -1, "unshare", "CLONE_NEWTIME");
        set_time_offsets(spawn, offsets);
    }
    become_root(spawn);
    begin = mark(stub, STAGE_NAMESPACES, begin);
    enter_cgroups(spawn);
    mark(stub, STAGE_CGROUPS, begin);
    uint32_t done = 0;
    if (spawn->flags & SPAWN_EXEC)
        done = become_before_the_line(spawn, stub);
    if (spawn->flags & SPAWN_EXEC && spawn->flags & SPAWN_LATE) {
        static const char waits = MESSAGE_WAITS;
        tell(spawn->sync, &waits, sizeof waits);
        await_host(spawn->sync);
    }
    uint64_t flags = spawn->clone_flags & ~(uint64_t)(CLONE_NEWUSER | CLONE_NEWTIME);
    if (spawn->flags & SPAWN_CROSS) {
        if (unshare((int)flags) < 0)
            die(spawn->sync, -1, "unshare", "");
        if (!tell_pid(spawn->sync, getpid()))
            _exit(1);
        return;
    }
    if (spawn->flags & SPAWN_LATE)
        flags |= CLONE_PTRACE;
    pid_t pid = clone_sibling(spawn->sync, flags);
    if (pid < 0)
        die(spawn->sync, -1, "clone3", "");
    if (pid == 0) {
        if (spawn->flags & SPAWN_EXEC)
            become_process(spawn, stub, done);
        return;
    }
    leave_to(spawn->sync, pid);
}

/* With SPAWN_CROSS: clones a sibling into the joined pid namespace, where it can be seen. The sibling continues from
 * here, and this process exits. To be called when `sync` is the only resource of the host that the process still has, and
 * under the container's filter, which must allow clone3 or clone. Returns 0 in the sibling, which must wait for the host
 * then, or -errno. */
int pyr_cross(int sync) {
    pid_t pid = clone_sibling(sync, 0);
    if (pid < 0)
        return -errno;
    if (pid > 0)
        leave_to(sync, pid);
    return 0;
}

/* In the host it returns the pid of the child (init, or the intermediate process with SPAWN_VIA), or -errno. In an init
 * that runs Python it returns 0 after the steps. It does not return in a child that needs no Python, and not after a
 * failure in the child, which is reported on `sync`. */
/* Upholds config-linux.md#namespaces/no-path-is-new. */
int pyr_spawn(struct spawn *spawn, struct stub *stub, int *pidfd) {
    bool via = spawn->flags & SPAWN_VIA;
    struct detached detached = {0};
    if (spawn->execution)
        detach(&detached, &spawn, &stub);
    pid_t pid = clone3(via ? 0 : spawn->clone_flags & ~late_ipc(spawn), pidfd, spawn->cgroup);
    if (pid != 0) {
        int error = errno;
        attach_again(&detached);
        return pid < 0 ? -error : pid;
    }
    close(spawn->host_sync);
    clear_command_line();
    if (spawn->flags & SPAWN_TELL && (via || spawn->cgroup >= 0))
        tell_begun(spawn);
    if (via)
        pass_through(spawn, stub);
    return init(spawn, stub, !via && spawn->flags & SPAWN_MAPS);
}
