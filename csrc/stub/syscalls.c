/* System calls that the C library of the oldest supported system does not wrap, with the constants its headers lack. */
#include "syscalls.h"

#include <sys/syscall.h>

#include "stub.h"

int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    int fd;
    /* The kernel returns EAGAIN if a rename elsewhere may have changed what RESOLVE_IN_ROOT saw. A hostile process can
     * rename without end, so the number of attempts is limited. */
    for (int tries = 0; tries < 128; tries++) {
        fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return fd;
    }
    return fd;
}

int sys_open_tree(int dirfd, const char *path, unsigned flags) {
    return (int)syscall(SYS_open_tree, dirfd, path, flags);
}

int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
    return (int)syscall(SYS_move_mount, from, from_path, to, to_path, flags);
}

int sys_mount_setattr(int fd, unsigned flags, uint64_t set, uint64_t clr, uint64_t propagation, int userns) {
    struct mount_attributes attributes = {
        .attr_set = set,
        .attr_clr = clr,
        .propagation = propagation,
        .userns_fd = userns < 0 ? 0 : (uint64_t)userns,
    };
    return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes);
}

int sys_fsopen(const char *fstype) { return (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC); }

int sys_fsconfig(int fd, unsigned command, const char *key, const char *value) {
    return (int)syscall(SYS_fsconfig, fd, command, key, value, 0);
}

int sys_fsmount(int fd, unsigned attributes) { return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes); }

int sys_pivot_root(const char *new_root, const char *put_old) {
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}
