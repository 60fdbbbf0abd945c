/* The container's first process: clone3 with all new namespaces, joining the given ones, id maps, then the steps.
 *
 * One clone3 makes everything where that is possible. An intermediate process is needed where the kernel puts only
 * *children* into a namespace (pid, time) or where a namespace must be entered before the new ones are made (a joined
 * user namespace, or namespaces of the host joined together with a new user namespace). It clones init with
 * CLONE_PARENT, so that init is the runtime's own child either way, tells its pid and is gone.
 *
 * Where the pid namespace is another container's, the intermediate process does all of init's work that needs the host,
 * and clones last of all: see pyr_cross. For exec that is the rule.
 */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "become.h"
#include "detach.h"
#include "sockets.h"
#include "stub.h"
#include "syscalls.h"
#include "to_host.h"

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

static pid_t clone_sibling(int sync, uint64_t flags) {
    pid_t pid = clone3(flags | CLONE_PARENT, NULL, -1);
    if (pid >= 0 || errno != EAGAIN)
        return pid;
    ask_for_room(sync);
    return clone3(flags | CLONE_PARENT, NULL, -1);
}

/* The contexts of the procfs to mount, before the pid namespace to join is joined for the children of this process.
 * Tells whether that is done; EPERM is tolerated where the privileges may come with a user namespace. */
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

/* The capabilities to join a namespace may come from outside the user namespace to join, or from inside it. */
/* Upholds config-linux.md#namespaces/path-joined. */
static void join_namespaces(const struct spawn *spawn, struct stub *stub) {
    bool joined[16] = {false};
    /* A cgroup namespace is for init, once it is in its cgroups: from inside, they could not be joined. */
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
    /* The namespace of a container may have no such id. A process of exec can do without: it has all capabilities there
     * as nobody, too. Nobody could make a container so. */
    int tolerated = spawn->flags & SPAWN_EXEC ? EINVAL : 0;
    if (setresgid(0, 0, 0) < 0 && errno != tolerated)
        die(spawn->sync, -1, "setresgid", "");
    if (setresuid(0, 0, 0) < 0 && errno != tolerated)
        die(spawn->sync, -1, "setresuid", "");
}

static void ask_for_maps(const struct spawn *spawn) {
    /* /proc/PID of a process that is not dumpable is closed to an ordinary user, who has to write the maps there. In
     * a user namespace without maps there is nobody yet who could use the moment. */
    set_dumpable(spawn, 1);
    static const char maps = MESSAGE_MAPS;
    tell(spawn->sync, &maps, sizeof maps);
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
        die(spawn->sync, -1, "open", "/proc/self/timens_offsets");
    return file;
}

static void set_time_offsets(const struct spawn *spawn, int file) {
    if (file >= 0 && write(file, spawn->time_offsets, strlen(spawn->time_offsets)) < 0)
        die(spawn->sync, -1, "write", "/proc/self/timens_offsets");
}

/* The host's procfs, before a mount namespace is joined in which it may be another. */
static void open_proc(const struct spawn *spawn, struct stub *stub) {
    stub->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (stub->proc < 0)
        die(spawn->sync, -1, "open", "/proc");
}

/* "0" is the writing thread itself, which the kernel moves without holding up every fork on the machine, as it would
 * for a pid in cgroup.procs; the rights are those of the host, which opened the files. */
static void join_cgroups(const struct spawn *spawn) {
    for (uint32_t i = 0; i < spawn->task_count; i++)
        if (write(spawn->tasks[i], "0", 1) < 0)
            die(spawn->sync, -1, "write", "the cgroup's tasks");
}

/* The root of an ipc namespace's message queues belongs to whoever makes the namespace, by its ids of that moment: in
 * a user namespace it is made by root of that, and so not before there are maps. */
static uint64_t late_ipc(const struct spawn *spawn) {
    return spawn->flags & SPAWN_BECOME_ROOT ? spawn->clone_flags & CLONE_NEWIPC : 0;
}

/* The kernel keeps a mask within the CPUs of the cgroup. One that it refuses leaves the caller's, as before. */
static void allow_all_cpus(void) {
    unsigned char all[1024]; /* 8192 CPUs: CONFIG_NR_CPUS is no larger */
    memset(all, 0xff, sizeof all);
    (void)!syscall(SYS_sched_setaffinity, 0, sizeof all, all);
}

/* Joins the groups, and then the cgroup namespace: only now does it have the right root. */
static void enter_cgroups(const struct spawn *spawn) {
    join_cgroups(spawn);
    if (spawn->flags & SPAWN_ALL_CPUS)
        allow_all_cpus();
    bool joined[16] = {false};
    join_all(spawn, CLONE_NEWCGROUP, false, joined);
    if (spawn->flags & SPAWN_CGROUP && unshare(CLONE_NEWCGROUP) < 0)
        die(spawn->sync, -1, "unshare", "CLONE_NEWCGROUP");
    /* Who may not leave the group again has less room in it, which is no error. */
    if (spawn->back >= 0)
        (void)!write(spawn->back, "0", 1);
}

/* ---- Init of a new container ---- */

/* In init: what is left to do in the new namespaces before the steps. */
static int init(struct spawn *spawn, struct stub *stub, bool maps) {
    uint64_t begin = mark_begin(stub);
    if (spawn->flags & SPAWN_VIA) {
        /* Whatever is reported from here on must not reach the host before this process's pid does. */
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

/* The host goes on with the process `pid`; this one ends. */
static _Noreturn void leave_to(int sync, pid_t pid) {
    if (tell_pid(sync, pid))
        _exit(0);
    kill(pid, SIGKILL); /* it waits for a host that does not know it */
    _exit(1);
}

/* It is in none of the pid namespaces of the container: what it holds of the host cannot be reached from there. All of
 * that is used and closed before the last clone makes a process that can be seen (CVE-2016-9962, CVE-2024-21626).
 * Returns in its sibling, init, and with SPAWN_CROSS in the process itself, which does init's work as far as pyr_cross. */
static void pass_through(struct spawn *spawn, struct stub *stub) {
    uint64_t begin = mark_begin(stub);
    cleanup_close int offsets = open_time_offsets(spawn);
    open_proc(spawn, stub);
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
    uint64_t flags = spawn->clone_flags & ~(uint64_t)(CLONE_NEWUSER | CLONE_NEWTIME);
    if (spawn->flags & SPAWN_CROSS) {
        if (unshare((int)flags) < 0)
            die(spawn->sync, -1, "unshare", "");
        if (!tell_pid(spawn->sync, getpid()))
            _exit(1);
        return;
    }
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

/* With SPAWN_CROSS, once the process holds nothing of the host's but its socket `sync`: a sibling goes on from here, in
 * the joined pid namespace, where it can be seen, and this process ends. Returns 0 in the sibling, or -errno. */
int pyr_cross(int sync) {
    /* A change of the user sets it, as above. */
    pid_t pid = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -1 : clone_sibling(sync, 0);
    if (pid < 0)
        return -errno;
    if (pid > 0)
        leave_to(sync, pid);
    await_host(sync);
    return 0;
}

/* Returns the pid of the child (init, or the intermediate process with SPAWN_VIA) in the host, 0 in an init with Python
 * once the steps are done, or -errno. In the child it does not return when something failed: that was reported on `sync`;
 * nor in one that needs no Python. */
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
    if (via)
        pass_through(spawn, stub);
    return init(spawn, stub, !via && spawn->flags & SPAWN_MAPS);
}
