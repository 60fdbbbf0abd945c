/* The processes that come up in the pid namespace of an attacker. Pids are given in their order, so the next ones to come
 * are known; listing /proc would take longer. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Waits for the process that comes after `*last`, which becomes its pid; returns a pidfd of it. */
static inline int next_newcomer(int *last) {
    int process;
    do
        process = (int)syscall(SYS_pidfd_open, *last + 1, 0);
    while (process < 0);
    ++*last;
    return process;
}

/* The last pid that was given in this namespace, or 0. */
static inline int newest_pid(int loadavg) {
    char line[128];
    ssize_t length = pread(loadavg, line, sizeof line - 1, 0);
    if (length < 0)
        return 0;
    line[length] = '\0';
    const char *field = strrchr(line, ' ');
    return field ? atoi(field) : 0;
}

/* Calls `look` with each process that comes up, again and again until it has ended. One that has ended and that nobody
 * reaps does not keep it from the next one; nor do those that came and went unseen. */
static inline void look_at_newcomers(void (*look)(int pid)) {
    enum { BEHIND = 24 };
    int loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    for (int last = getpid();;) {
        int newest = newest_pid(loadavg);
        /* A pid is counted before its process can be found. */
        for (int pid = newest - last > BEHIND ? newest - BEHIND : last + 1; pid <= newest + 1; pid++) {
            struct pollfd process = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
            if (process.fd < 0)
                continue;
            last = pid;
            while (poll(&process, 1, 0) == 0)
                look(pid);
            close(process.fd);
        }
    }
}
