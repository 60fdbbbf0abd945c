/* Unix sockets: between host and child, for the start gate, and to pass descriptors. */
#ifndef PYRUNTIME_SOCKETS_H
#define PYRUNTIME_SOCKETS_H

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* Where the control message with one descriptor lies. */
union passed {
    char buffer[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

/* Makes `fd` a part of `message`. */
static inline void pass_descriptor(struct msghdr *message, union passed *room, int fd) {
    message->msg_control = room->buffer;
    message->msg_controllen = sizeof room->buffer;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

/* cdef: from here on the text is also read by cffi. */

int pyr_socketpair(int pair[2]);
int pyr_listen(const char *path);
int pyr_connect(const char *path);
int pyr_accept(int sock);
int pyr_send(int sock, const char *data, uint32_t size);
int pyr_send_fd(int sock, int fd, const char *data, uint32_t size);
int pyr_receive(int sock, char *data, uint32_t size, int *fd);
int pyr_recv_fd(int sock);
int pyr_set_patience(int sock, unsigned milliseconds);
int pyr_pass_senders(int sock, int on);
int pyr_sender(int sock);

#endif
