/* The processes that come up in the pid namespace of an attacker. Pids are given in their order, so the next ones to come
 * are known; listing /proc would take longer. */
#include <stdio.h>
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

/* Calls `look` again and again with each process that is there, by /proc, whatever pids were skipped before it. */
static inline void look_at_newcomers(void (*look)(int pid)) {
    enum { AHEAD = 24 };
    for (int last = getpid();;)
        for (int pid = last + 1; pid <= last + AHEAD; pid++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%d", pid);
            while (access(path, F_OK) == 0) {
                last = pid;
                look(pid);
            }
        }
}
