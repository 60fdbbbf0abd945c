/* mount(2) and umount2(2), which take only paths, of the place that a descriptor refers to. */
#include <sys/mount.h>

#include "stub.h"

/* Goes to the host's procfs, where fd_path() leads; `before` is the working directory until then, or -1. */
static int enter_proc(const struct stub *stub, int *before) {
    *before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fchdir(stub->proc);
}

/* The process must not stay in the host's procfs. */
static int leave_proc(int before, int result) {
    int saved = errno;
    if ((before < 0 || fchdir(before) < 0) && chdir("/") < 0)
        return -1;
    errno = saved;
    return result;
}

int mount_on(const struct stub *stub, int fd, const char *source, const char *fstype, unsigned long flags, const char *data) {
    cleanup_close int before;
    int result = enter_proc(stub, &before);
    if (result == 0)
        result = mount(source, fd_path(fd).text, fstype, flags, data);
    return leave_proc(before, result);
}

/* Detaches the mount. */
int unmount_from(const struct stub *stub, int fd) {
    cleanup_close int before;
    int result = enter_proc(stub, &before);
    if (result == 0)
        result = umount2(fd_path(fd).text, MNT_DETACH);
    return leave_proc(before, result);
}
