/* Unix sockets: between host and child, for the start gate, and to pass descriptors. */
#ifndef PYRUNTIME_SOCKETS_H
#define PYRUNTIME_SOCKETS_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

int pyr_socketpair(int pair[2]);
int pyr_listen(const char *path);
int pyr_connect(const char *path);
int pyr_accept(int sock);
int pyr_send(int sock, const char *data, uint32_t size);
int pyr_send_fd(int sock, int fd, const char *data, uint32_t size);
int pyr_recv_fd(int sock);

#endif
