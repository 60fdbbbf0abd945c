/* Unix sockets: between host and child, for the start gate, and to pass descriptors. */
#include "sockets.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/un.h>

#include "signals.h"
#include "stub.h"

/* Each function returns a descriptor or 0, or -errno. */

int pyr_socketpair(int pair[2]) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
}

static int address_of(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int pyr_listen(const char *path) {
    struct sockaddr_un address;
    int error = address_of(path, &address);
    if (error < 0)
        return error;
    cleanup_close int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof address) < 0 || listen(sock, 16) < 0)
        return -errno;
    int result = sock;
    sock = -1;
    return result;
}

enum { PATIENCE = 1 }; /* seconds after which a wait looks for signals that ask to end it */

static int set_send_timeout(int sock, int seconds) {
    struct timeval time = {.tv_sec = seconds};
    return setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* Waits as long as the listener's queue is full, but not after a signal that asks to end: then it fails with EINTR. */
/* Upholds config-linux.md#seccomp/listener-socket. */
int pyr_connect(const char *path) {
    struct sockaddr_un address;
    int error = address_of(path, &address);
    if (error < 0)
        return error;
    cleanup_close int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || set_send_timeout(sock, PATIENCE) < 0)
        return -errno;
    int connected;
    do
        connected = connect(sock, (struct sockaddr *)&address, sizeof address);
    while (connected < 0 && (errno == EINTR || (errno == EAGAIN && !pyr_signal_to_end())));
    if (connected < 0)
        return errno == EAGAIN ? -EINTR : -errno;
    if (set_send_timeout(sock, 0) < 0)
        return -errno;
    int result = sock;
    sock = -1;
    return result;
}

int pyr_accept(int sock) {
    int connection;
    do
        connection = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
    while (connection < 0 && (errno == EINTR || errno == ECONNABORTED));
    return connection < 0 ? -errno : connection;
}

int pyr_send_fd(int sock, int fd, const char *data, uint32_t size) {
    struct iovec vector = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    union passed room = {0};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    pass_descriptor(&message, &room, fd);
    ssize_t sent;
    do
        sent = sendmsg(sock, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* Receives a message; returns its size, or -errno. Sets *fd to the descriptor that came with it, or to -1. */
int pyr_receive(int sock, char *data, uint32_t size, int *fd) {
    struct iovec vector = {.iov_base = data, .iov_len = size};
    union passed room = {0};
    /* CMSG_SPACE is rounded up: a second descriptor would fit, and stay open. */
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = room.buffer, .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t got;
    *fd = -1;
    do
        got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return (int)got;
}

/* Receives a message; returns the descriptor that came with it, -ENOMSG without one, or -errno. */
int pyr_recv_fd(int sock) {
    char data[4096];
    int fd, got = pyr_receive(sock, data, sizeof data, &fd);
    return got < 0 ? got : fd < 0 ? -ENOMSG : fd;
}

/* From now on a call that waits for a message fails with EAGAIN after `milliseconds`. */
int pyr_set_patience(int sock, unsigned milliseconds) {
    struct timeval time = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    return setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0 ? -errno : 0;
}

/* From now on a message comes with the credentials of its sender, for pyr_sender, or without: they would take the place
 * of a descriptor. */
int pyr_pass_senders(int sock, int on) {
    return setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ? -errno : 0;
}

/* Returns the pid of the process that has sent the next message, which stays in the socket, as this process sees it; 0 at
 * the end of the connection, or -errno: -ESRCH for a sender without a pid here. The kernel lets a process with
 * CAP_SYS_ADMIN name another sender, but only one that is in its own pid namespace. */
int pyr_sender(int sock) {
    union {
        char buffer[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } room = {0};
    /* Without room for them, descriptors that come with the message are closed. */
    struct msghdr message = {.msg_control = room.buffer, .msg_controllen = sizeof room.buffer};
    ssize_t got;
    do
        got = recvmsg(sock, &message, MSG_PEEK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS)
        return 0;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    return sender.pid > 0 ? sender.pid : -ESRCH;
}

/* write(2) without SIGPIPE: if the peer has closed the connection, it returns -EPIPE. */
int pyr_send(int sock, const char *data, uint32_t size) {
    ssize_t sent;
    do
        sent = send(sock, data, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : (int)sent;
}
