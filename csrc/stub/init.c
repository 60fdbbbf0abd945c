/* Init without Python, until execve: if no hook runs in the container. Also the process of exec.
 *
 * Such a process has no page of Python's memory (detach.c). It takes the same steps as init of pyruntime/init/main.py,
 * in the same order.
 */
#include "init.h"

#include "execute.h"
#include "messages.h"
#include "python_calls.h"
#include "seccomp_filter.h"
#include "signals.h"
#include "sockets.h"
#include "stub.h"

/* Moves the descriptors that are still needed behind those that the program inherits, and closes all others: none may
 * lead out of the container. This is done before the working directory is entered and the program is looked up, because
 * both paths may be /proc/self/fd/N. */
static void close_the_rest(struct spawn *spawn, struct stub *stub) {
    int *kept[] = {&spawn->sync, &spawn->gate, &stub->terminal};
    enum { KEPT = sizeof kept / sizeof *kept };
    int base = 3 + (int)spawn->execution->preserve, used = 0;
    int apart[KEPT];
    for (int i = 0; i < KEPT; i++) {
        if (*kept[i] < 0)
            continue;
        apart[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, base + KEPT);
        if (apart[i] < 0)
            die(spawn->sync, -1, "fcntl", "F_DUPFD_CLOEXEC");
    }
    for (int i = 0; i < KEPT; i++)
        if (*kept[i] >= 0) {
            *kept[i] = base + used++;
            if (dup3(apart[i], *kept[i], O_CLOEXEC) < 0)
                die(apart[0], -1, "dup3", "");
        }
    int answer = pyr_close_range((unsigned)(base + used), ~0U, 0);
    if (answer < 0) {
        errno = -answer;
        die(spawn->sync, -1, "close_range", "");
    }
    if (stub->marks >= 0)
        stub->marks = spawn->sync;
    stub->root = stub->proc = -1;
}

/* Reports the failure and exits. If execve failed, also sends the beginning of the program, for the error message. */
static _Noreturn void fail(const struct spawn *spawn, struct stub *stub, int connection) {
    report(connection, MESSAGE_STEP, (enum list)stub->failed_list, stub->failed_index, stub->call, stub->text);
    if (strcmp(stub->call, "execve") == 0) {
        struct execution *execution = spawn->execution;
        char head[1 + sizeof execution->home] = {MESSAGE_PROGRAM};
        int size = pyr_program_head(execution);
        memcpy(head + 1, execution->home, (size_t)size);
        tell(connection, head, 1 + (size_t)size);
    }
    _exit(1);
}

/* Loads the filter, and enforces Landlock, long before execve: a process of the container that has CAP_SYS_PTRACE may trace
 * this one while it waits, and would have CAP_SYS_ADMIN, which the loading takes, and no filter. If the filter does not
 * allow what is called until execve, it is loaded then. */
static void restrict_early(const struct spawn *spawn, struct stub *stub) {
    struct filter *filter = spawn->execution->filter;
    filter->ruleset = stub->restriction;
    if ((!filter->length && filter->ruleset < 0) || (filter->length && !pyr_filter_lets_go_on(filter)))
        return;
    int answer = pyr_filter_early(filter);
    if (answer < 0) {
        errno = -answer;
        stub->call = filter->call;
        stub->text[0] = '\0';
        die_at(spawn->sync, MESSAGE_STEP, LIST_FILTER, 0, stub->call, stub->text);
    }
    filter->length = 0;
    stub->restriction = -1;
}

/* Reports that the program can be executed, and which limits only the host can set; waits for the host's answer. */
static void get_ready(const struct spawn *spawn, struct stub *stub) {
    stub->text[0] = '\0';
    uint64_t begin = mark_begin(stub);
    if (pyr_prepare(spawn->execution, stub) < 0)
        fail(spawn, stub, spawn->sync);
    uint8_t ready[1 + 256] = {MESSAGE_READY};
    /* A process of exec has inherited them. */
    int left = spawn->flags & SPAWN_EXEC ? 0 : pyr_limit_own(spawn->execution, 0, ready + 1);
    restrict_early(spawn, stub); /* in exec only with Landlock, whose rules are there now */
    mark(stub, STAGE_PROGRAM, begin);
    tell(spawn->sync, ready, 1 + (size_t)left);
    await_host(spawn->sync);
}

/* ---- A process of exec ---- */

/* Limits the intermediate process, and so the process of exec, from its first moment. */
void become_limited(const struct spawn *spawn, struct stub *stub, bool closed) {
    if (limit_ahead(spawn->execution, stub, closed) < 0)
        die_at(spawn->sync, MESSAGE_STEP, LIST_LIMITS, stub->failed_index, stub->call, "");
}

/* Landlock's ruleset is made after the line: it is a descriptor, and names paths as the process sees them. */
static bool makes_ruleset(const struct spawn *spawn) {
    for (uint32_t i = 0; i < spawn->process_count; i++)
        if (spawn->process[i].op == OP_LANDLOCK_CREATE_RULESET)
            return true;
    return false;
}

/* Carries out the steps that come before other processes of the container can see this one. Returns their number. */
uint32_t become_before_the_line(struct spawn *spawn, struct stub *stub) {
    uint32_t count = 0;
    while (count < spawn->process_count && spawn->process[count].op != OP_SETSID)
        count++;
    run_steps(spawn, stub, LIST_BUILD, 0, spawn->build_count);
    close_the_rest(spawn, stub);
    become_limited(spawn, stub, true);
    run_steps(spawn, stub, LIST_PROCESS, 0, count);
    if (!makes_ruleset(spawn))
        restrict_early(spawn, stub);
    return count;
}

/* Runs in the process that processes of the container can see. It has its final user, groups and capabilities. Its
 * descriptors are those that the program gets, and the socket to the host. */
_Noreturn void become_process(const struct spawn *spawn, struct stub *stub, uint32_t done) {
    struct execution *execution = spawn->execution;
    await_host(spawn->sync);
    run_steps(spawn, stub, LIST_PROCESS, done, spawn->process_count);
    get_ready(spawn, stub);
    if (execution->filter->relayed)
        execution->filter->agent = spawn->sync;
    pyr_execute(execution, stub, spawn->sync);
    fail(spawn, stub, spawn->sync);
}

/* ---- Init ---- */

/* Returns the connection of a `start`. A connection without a message only checks whether init still waits. */
static int accept_start(const struct spawn *spawn, int signals) {
    for (;;) {
        pyr_wait_or_end(spawn->gate, signals);
        int connection = pyr_accept(spawn->gate);
        if (connection < 0)
            _exit(1);
        pyr_wait_or_end(connection, signals);
        if (hears_go(connection))
            return connection;
        close(connection);
    }
}

/* From the last mount to execve. Upholds runtime.md#lifecycle/program-waits-for-start. */
_Noreturn void become_init(struct spawn *spawn, struct stub *stub) {
    if (spawn->flags & SPAWN_HOOKS) {
        static const char mounted = MESSAGE_MOUNTED;
        tell(spawn->sync, &mounted, sizeof mounted);
        await_host(spawn->sync);
    }
    run_steps(spawn, stub, LIST_ENTER, 0, spawn->enter_count);
    close_the_rest(spawn, stub);
    run_steps(spawn, stub, LIST_PROCESS, 0, spawn->process_count);
    int signals = -1;
    if (!(spawn->flags & SPAWN_AT_ONCE)) {
        signals = pyr_hold_deadly_signals();
        if (signals < 0) {
            errno = -signals;
            die(spawn->sync, -1, "signalfd", "");
        }
    }
    get_ready(spawn, stub);
    if (spawn->flags & SPAWN_LATE) {
        static const char waits = MESSAGE_WAITS;
        tell(spawn->sync, &waits, sizeof waits);
    }
    int connection = spawn->sync;
    if (spawn->flags & SPAWN_AT_ONCE) {
        await_host(connection);
    } else {
        close(spawn->sync);
        connection = accept_start(spawn, signals);
    }
    pyr_execute(spawn->execution, stub, connection);
    fail(spawn, stub, connection);
}
