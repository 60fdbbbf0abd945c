/* Runs a command and disturbs one system call of it or of a process that it has made, with ptrace(2).
 *
 *     injector REPORT SECONDS POINT ACTION [-p PID]... -- COMMAND [ARGUMENT...]
 *
 * POINT is PROCESS.CALL.NUMBER: of the processes, in the order in which they are made, and of the calls that one has
 * entered, both counted from 0, the first one from CALL on that is system call NUMBER; "-" for none. ACTION is "kill", which ends the process after that call, or the number of an error that the call ends with,
 * without having been made. PID is a process that runs already and is taken for one that the command made first.
 *
 * A process is followed until it executes another program; the first one, which is the runtime, beyond that. SECONDS
 * only end a command that is stuck.
 *
 * REPORT is a file for what happened, a line each:
 *
 *     call PROCESS CALL NUMBER     only without a point: every system call by its number
 *     at NUMBER                    the point was met, at this system call
 *     process PID                  each process that was followed
 *     program PID                  it has executed another program
 *     stuck PID PROCESS NUMBER     it was still in that call when the time was over; all have been killed
 *     status NUMBER                how the command ended, as wait(2) says it
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "how a system call is replaced is known for x86_64 only"
#endif

enum { MOST = 256, KILL = -1, LIST = -2, NEVER_CALLED = -1 };

struct process {
    pid_t pid;
    int index;
    unsigned calls;
    bool gone, inside, disturbed;
    long long number, argument;
};

struct attack {
    struct process processes[MOST];
    int count;
    int at_process, action;
    unsigned at_call;
    long long at_number;
    bool met;
    FILE *report;
};

static volatile sig_atomic_t late;

static void ring(int number) {
    (void)number;
    late = 1;
}

static void give_up(const char *what) {
    perror(what);
    exit(125);
}

static struct process *find(struct attack *attack, pid_t pid) {
    for (int i = attack->count - 1; i >= 0; i--)
        if (attack->processes[i].pid == pid && !attack->processes[i].gone)
            return &attack->processes[i];
    if (attack->count == MOST) {
        fputs("more processes than there is room for\n", stderr);
        exit(125);
    }
    struct process *new = &attack->processes[attack->count];
    *new = (struct process){.pid = pid, .index = attack->count++, .number = -1};
    fprintf(attack->report, "process %d\n", pid);
    return new;
}

static bool was_seen(const struct attack *attack, pid_t pid) {
    for (int i = 0; i < attack->count; i++)
        if (attack->processes[i].pid == pid)
            return true;
    return false;
}

static void go_on(pid_t pid, int number) { ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)number); }

static void set_register(pid_t pid, size_t offset, long long value) {
    if (ptrace(PTRACE_POKEUSER, pid, (void *)offset, (void *)value) < 0 && errno != ESRCH)
        give_up("PTRACE_POKEUSER");
}

/* Let the call that is entered fail, or, of close(2), only its answer: the kernel closes the descriptor all the same.
 * brk(2) has no errors; when it fails it answers with the end as it was, as it does to those who only ask. */
static void spoil(struct process *process, long long number) {
    size_t argument = offsetof(struct user_regs_struct, rdi);
    if (number == SYS_brk) {
        process->argument = ptrace(PTRACE_PEEKUSER, process->pid, (void *)argument, NULL);
        set_register(process->pid, argument, 0);
    } else if (number != SYS_close)
        set_register(process->pid, offsetof(struct user_regs_struct, orig_rax), NEVER_CALLED);
}

static void at_entry(struct attack *attack, struct process *process, long long number) {
    process->inside = true;
    process->number = number;
    unsigned call = process->calls++;
    if (attack->action == LIST)
        fprintf(attack->report, "call %d %u %lld\n", process->index, call, number);
    if (attack->met || process->index != attack->at_process || call < attack->at_call || number != attack->at_number)
        return;
    attack->met = true;
    fprintf(attack->report, "at %lld\n", number);
    process->disturbed = true;
    if (attack->action > 0)
        spoil(process, number);
}

static void at_exit(struct attack *attack, struct process *process) {
    process->inside = false;
    if (!process->disturbed)
        return;
    process->disturbed = false;
    if (attack->action == KILL)
        kill(process->pid, SIGKILL);
    else if (process->number == SYS_brk)
        set_register(process->pid, offsetof(struct user_regs_struct, rdi), process->argument);
    else
        set_register(process->pid, offsetof(struct user_regs_struct, rax), -(long long)attack->action);
}

/* A stop that is not the end of a process. */
static void at_stop(struct attack *attack, struct process *process, int status) {
    int event = status >> 16, number = WSTOPSIG(status);
    if (number == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, process->pid, (void *)sizeof info, &info) <= 0)
            return; /* it was killed meanwhile, which is reported next */
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
            at_entry(attack, process, (long long)info.entry.nr);
        else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
            at_exit(attack, process);
        go_on(process->pid, 0);
        return;
    }
    unsigned long message = 0;
    switch (event) {
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        /* The child's own stops, even its end, may be reported before this one. */
        if (ptrace(PTRACE_GETEVENTMSG, process->pid, NULL, &message) == 0 && !was_seen(attack, (pid_t)message))
            find(attack, (pid_t)message);
        break;
    case PTRACE_EVENT_EXEC:
        if (process->index == 0)
            break;
        fprintf(attack->report, "program %d\n", process->pid);
        process->gone = true;
        ptrace(PTRACE_DETACH, process->pid, NULL, NULL);
        return;
    case PTRACE_EVENT_STOP:
        if (number != SIGTRAP) { /* a stop of the whole group, which lasts until SIGCONT */
            ptrace(PTRACE_LISTEN, process->pid, NULL, NULL);
            return;
        }
        break;
    case 0:
        go_on(process->pid, number);
        return;
    }
    go_on(process->pid, 0);
}

static bool sleeps(const struct process *process) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", process->pid);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[size] = '\0';
    char *end = strrchr(text, ')');
    return process->inside && end && end[1] == ' ' && end[2] == 'S';
}

/* Whether all that is left waits in a system call for somebody else, as the first process of a created container. */
static bool all_sleep(const struct attack *attack) {
    for (int i = 0; i < attack->count; i++)
        if (!attack->processes[i].gone && !sleeps(&attack->processes[i]))
            return false;
    return true;
}

static bool any_left(const struct attack *attack) {
    for (int i = 0; i < attack->count; i++)
        if (!attack->processes[i].gone)
            return true;
    return false;
}

static void kill_all(struct attack *attack) {
    for (int i = 0; i < attack->count; i++) {
        struct process *process = &attack->processes[i];
        if (process->gone)
            continue;
        fprintf(attack->report, "stuck %d %d %lld\n", process->pid, process->index, process->number);
        kill(process->pid, SIGKILL);
    }
}

static void follow(struct attack *attack, pid_t command) {
    bool ended = false;
    for (int quiet = 0; any_left(attack);) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL | (ended ? WNOHANG : 0));
        if (late) {
            kill_all(attack);
            return;
        }
        if (pid < 0 && errno != EINTR)
            return;
        if (pid < 0)
            continue;
        if (pid == 0) {
            quiet = all_sleep(attack) ? quiet + 1 : 0;
            if (quiet == 3)
                return; /* they go on when this process ends */
            usleep(500);
            continue;
        }
        quiet = 0;
        if (!WIFSTOPPED(status)) {
            find(attack, pid)->gone = true;
            if (pid == command) {
                fprintf(attack->report, "status %d\n", status);
                ended = true;
            }
            continue;
        }
        at_stop(attack, find(attack, pid), status);
    }
}

static const unsigned long OPTIONS =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;

static void seize(struct attack *attack, pid_t pid) {
    find(attack, pid);
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)OPTIONS) < 0)
        give_up("PTRACE_SEIZE");
}

static pid_t start(struct attack *attack, char **command) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        give_up("pipe2");
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0) {
        char word;
        if (read(gate[0], &word, 1) == 1)
            execv(command[0], command);
        _exit(127);
    }
    seize(attack, pid);
    if (write(gate[1], "G", 1) != 1)
        give_up("write");
    close(gate[0]);
    close(gate[1]);
    return pid;
}

int main(int argc, char **argv) {
    static struct attack attack;
    attack = (struct attack){.at_process = -1, .action = LIST};
    int word = 5;
    while (word + 1 < argc && strcmp(argv[word], "-p") == 0)
        word += 2;
    if (argc < 7 || word + 1 >= argc || strcmp(argv[word], "--") != 0) {
        fputs("usage: injector REPORT SECONDS POINT ACTION [-p PID]... -- COMMAND...\n", stderr);
        return 125;
    }
    attack.report = fopen(argv[1], "we");
    if (!attack.report)
        give_up(argv[1]);
    if (sscanf(argv[3], "%d.%u.%lld", &attack.at_process, &attack.at_call, &attack.at_number) == 3)
        attack.action = strcmp(argv[4], "kill") == 0 ? KILL : atoi(argv[4]);
    pid_t command = start(&attack, argv + word + 1);
    for (int i = 5; i < word; i += 2) {
        seize(&attack, atoi(argv[i + 1]));
        ptrace(PTRACE_INTERRUPT, atoi(argv[i + 1]), NULL, NULL);
    }
    struct sigaction action = {.sa_handler = ring};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval time = {.it_value.tv_sec = atoi(argv[2]), .it_interval.tv_sec = 1};
    setitimer(ITIMER_REAL, &time, NULL);
    follow(&attack, command);
    return fclose(attack.report) ? 125 : 0;
}
