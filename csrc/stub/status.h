/* What tells the status of a container: its state file, its process, its freezers: status.c. */
#ifndef PYRUNTIME_STATUS_H
#define PYRUNTIME_STATUS_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

/* A process, as /proc/PID/stat shows it (proc(5)). */
struct pyr_process {
    int64_t start_time;  /* clock ticks since boot */
    uint32_t flags;      /* PF_* of <linux/sched.h>; PF_SIGNALED as soon as SIGKILL is pending */
    int32_t wait_status; /* of one that has ended; 0 if the kernel does not show it */
    int32_t has_ended;
    int32_t sleeps;      /* the state S */
};

/* What pyr_freezers finds. */
enum pyr_found { PYR_FROZEN = 1, PYR_NESTED = 2 };

/* Beside the flags of pyr_process_flags, which have 32 bits. */
enum pyr_more_flags { PYR_SLEEPS_BIT = 32 };

int64_t pyr_read_file(int directory, const char *name, char *content, int64_t room);
int pyr_process(int pid, struct pyr_process *process);
int64_t pyr_process_flags(int pid, int64_t start_time);
int pyr_freezers(const char *unified, const char *freezer);

#endif
