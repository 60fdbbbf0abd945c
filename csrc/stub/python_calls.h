/* System calls that Python does not offer: python_calls.c. */
#ifndef PYRUNTIME_PYTHON_CALLS_H
#define PYRUNTIME_PYTHON_CALLS_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

int pyr_prctl(int option, unsigned long argument, unsigned long second);
int pyr_close_range(unsigned first, unsigned last, int at_exec);
int pyr_sched_setattr(int pid, uint32_t policy, uint64_t flags, int32_t nice, uint32_t priority, uint64_t runtime,
                      uint64_t deadline, uint64_t period);
int pyr_set_nice(int pid, uint64_t flags, int32_t nice);
int pyr_namespace_type(int fd);
int pyr_unmount(int mount_namespace, const char *path, uint64_t device, uint64_t inode);
int pyr_user_namespace_process(void);
int pyr_hold_children(int pid);
int pyr_let_go(int pid);
int pyr_go_on(int pid);
int pyr_pidfd_open(int pid);
int pyr_pidfd_send_signal(int pidfd, int number);
int pyr_errno_of(long number, const long arguments[5]);
int pyr_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);

#endif
