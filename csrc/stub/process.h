/* What the container's first process, and the host about it, need from the kernel and Python does not offer. */
#ifndef PYRUNTIME_PROCESS_H
#define PYRUNTIME_PROCESS_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

int pyr_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable);
int pyr_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
int pyr_bound(uint64_t keep);
int pyr_prctl(int option, unsigned long argument, unsigned long second);
int pyr_prlimit(int pid, int resource, uint64_t soft, uint64_t hard);
int pyr_session_keyring(const char *name);
int pyr_reset_signals(void);
int pyr_close_range(unsigned first, unsigned last, int at_exec);
int pyr_personality(unsigned long persona);
int pyr_sched_setattr(int pid, uint32_t policy, uint64_t flags, int32_t nice, uint32_t priority, uint64_t runtime,
                      uint64_t deadline, uint64_t period);
int pyr_ioprio_set(int ioclass, int priority);
int pyr_set_mempolicy(int mode, const unsigned long *nodes, unsigned long bits);
int pyr_namespace_type(int fd);
int pyr_unmount(int mount_namespace, const char *path, uint64_t device, uint64_t inode);
int pyr_user_namespace_process(void);
int pyr_pidfd_open(int pid);
int pyr_pidfd_send_signal(int pidfd, int number);
int pyr_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);

#endif
