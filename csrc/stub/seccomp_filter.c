/* Loads the seccomp filter, and Landlock's ruleset before it (config-linux.md#seccomp): right before execve, or earlier if
 * processes of the container can trace this one while it waits. */
#include "seccomp_filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "capabilities.h"
#include "landlock.h"
#include "sockets.h"
#include "stub.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC
#define SECCOMP_FILTER_FLAG_TSYNC (1UL << 0)
#endif
#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif
#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif

/* The functions return 0 or -errno; filter->call tells which call failed. */

static int refused(struct filter *filter, const char *call) {
    filter->call = call;
    return -errno;
}

/* Sends `fd` with the message, by one sendmsg(2) if the socket takes it at once: the filter must allow each call made
 * here. */
/* Upholds config-linux.md#seccomp/listener-one-state, config-linux.md#seccomp/listener-closed,
   config-linux.md#seccomp/listener-fails, config-linux.md#the-container-process-state/json-and-rights,
   config-linux.md#the-container-process-state/rights-first. */
static int hand_over(struct filter *filter, int fd) {
    union passed room = {0};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)filter->message, .iov_len = filter->size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    pass_descriptor(&message, &room, fd);
    while (vector.iov_len > 0) {
        ssize_t sent = sendmsg(filter->agent, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -1;
        vector.iov_base = (char *)vector.iov_base + sent;
        vector.iov_len -= (size_t)sent;
        /* The descriptor goes with the first part only. */
        message.msg_control = NULL;
        message.msg_controllen = 0;
    }
    return 0;
}

/* With both flags, the kernel requires this one: a thread that cannot be synchronised is an error then, and not an
 * id. */
static unsigned long complete(uint32_t flags) {
    bool both = flags & SECCOMP_FILTER_FLAG_TSYNC && flags & SECCOMP_FILTER_FLAG_NEW_LISTENER;
    return flags | (both ? SECCOMP_FILTER_FLAG_TSYNC_ESRCH : 0);
}

static int load(struct filter *filter) {
    if (filter->ruleset >= 0) {
        int error = landlock_restrict(filter->ruleset);
        if (error < 0) {
            filter->call = "landlock_restrict_self";
            return error;
        }
    }
    if (!filter->length)
        return 0;
    struct sock_fprog program = {
        .len = (unsigned short)filter->length, .filter = (struct sock_filter *)(uintptr_t)filter->program};
    unsigned long flags = complete(filter->flags);
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (listener < 0)
        return refused(filter, "seccomp");
    if (!(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
        return 0;
    if (hand_over(filter, (int)listener) < 0)
        return refused(filter, "sendmsg");
    /* The agent may wait for the end of the connection, so the socket is closed now and not by execve. If the filter
     * forbids close, that does no harm: both close on exec. */
    if (!filter->relayed)
        close(filter->agent);
    return 0;
}

/* A set of capabilities of this process as it was before. */
struct sets {
    uint64_t effective, permitted, inheritable;
};

/* Makes the capabilities effective that the loading takes, and loads. */
static int load_with_capabilities(struct filter *filter, struct sets *before) {
    if (filter->capabilities) {
        filter->call = "capset";
        int error = pyr_capget(&before->effective, &before->permitted, &before->inheritable);
        if (error == 0)
            error = set_capabilities(before->effective | (filter->capabilities & before->permitted), before->permitted,
                                     before->inheritable);
        if (error < 0)
            return error;
    }
    return load(filter);
}

/* Execve gives the process its final capabilities. */
int pyr_filter(struct filter *filter) {
    struct sets before;
    return load_with_capabilities(filter, &before);
}

/* For a process that goes on under the filter: gives up what only the loading took. The filter must allow capset(2). */
int pyr_filter_early(struct filter *filter) {
    struct sets before;
    int error = load_with_capabilities(filter, &before);
    if (error < 0 || !filter->capabilities)
        return error;
    filter->call = "capset";
    return set_capabilities(before.effective & ~filter->surplus, before.permitted & ~filter->surplus,
                            before.inheritable);
}

/* The kernel checks the flags first: only with known flags a filter at address NULL is refused with EFAULT. */
int pyr_filter_flags_known(uint32_t flags) {
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, complete(flags), NULL) < 0 && errno == EFAULT;
}
