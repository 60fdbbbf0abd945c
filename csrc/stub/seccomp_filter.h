/* Loads the seccomp filter, and Landlock's ruleset before it: seccomp_filter.c, seccomp_check.c. */
#ifndef PYRUNTIME_SECCOMP_FILTER_H
#define PYRUNTIME_SECCOMP_FILTER_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

struct filter {
    const void *program;      /* struct sock_filter[length] */
    uint32_t length;
    uint32_t flags;           /* SECCOMP_FILTER_FLAG_* */
    uint64_t capabilities;    /* to be made effective for the loading; they are permitted */
    uint64_t surplus;         /* those of them that the process may not keep, if it does not execve at once */
    int agent;                /* connected socket that takes the listener, taken over; -1 without listener */
    int relayed;              /* it leads to the host, which passes the listener on; it is not taken over then */
    uint32_t size;            /* of message */
    const char *message;      /* goes to the agent with the listener */
    int ruleset;              /* of Landlock, to be enforced before the filter is loaded; -1 without one */
    const char *call;         /* the call that failed */
};

int pyr_filter(struct filter *filter);
int pyr_filter_early(struct filter *filter);
int pyr_filter_lets_go_on(const struct filter *filter);
int pyr_filter_flags_known(uint32_t flags);

#endif
