/* Sends a filesystem context of its own over the socket of the first process that comes up and has one.
 *   faker tmpfs FILE    of that filesystem
 *   faker nested FILE   a procfs of a pid namespace of its own
 *   faker pipe FILE     no context at all
 * Notes in FILE, a byte each, that one was sent.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "newcomers.h"

enum { FIRST = 0, LAST = 10 }; /* where the socket may be */

static int send_descriptor(int sock, int descriptor, int seen) {
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {0};
    struct iovec vector = {.iov_base = "", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = room.buffer, .msg_controllen = sizeof room.buffer};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(sock, &message, MSG_DONTWAIT | MSG_NOSIGNAL) > 0 && write(seen, "s", 1) == 1;
}

/* In a nested pid namespace contexts are opened by its first process, which sends them to its parent: `pair`. */
static int context(const char *kind) {
    if (strcmp(kind, "pipe") == 0) {
        int ends[2];
        return pipe(ends) < 0 ? -1 : ends[0];
    }
    if (strcmp(kind, "nested") != 0)
        return (int)syscall(SYS_fsopen, kind, 0);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || unshare(CLONE_NEWPID) < 0)
        return -1;
    pid_t first = fork();
    if (first == 0) {
        int opened = (int)syscall(SYS_fsopen, "proc", 0);
        (void)!write(pair[1], &opened, sizeof opened);
        for (;;)
            pause();
    }
    int number = -1;
    (void)!read(pair[0], &number, sizeof number);
    return (int)syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, first, 0), number, 0);
}

int main(int count, char **words) {
    int seen = open(words[count - 1], O_WRONLY | O_APPEND);
    int false_one = context(words[1]);
    if (false_one < 0)
        return 1;
    int last = newest_pid(open("/proc/loadavg", O_RDONLY)); /* after those of its own */
    write(1, "ready\n", 6);
    for (int sent = 0; !sent;) {
        int process = next_newcomer(&last);
        for (int round = 0; round < 50; round++)
            for (int number = FIRST; number < LAST; number++) {
                int descriptor = (int)syscall(SYS_pidfd_getfd, process, number, 0);
                if (descriptor < 0)
                    continue;
                sent += send_descriptor(descriptor, false_one, seen);
                close(descriptor);
            }
        close(process);
    }
    for (;;)
        pause();
}
