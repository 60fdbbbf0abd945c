/* The root of the mount namespace: its propagation, and the change from the host's root to the container's. */
#include "stub.h"
#include "syscalls.h"

int do_propagation(struct stub *stub, const struct step *step) {
    if (mount(NULL, "/", NULL, step->rec_propagation | MS_REC, NULL) < 0)
        return failed(stub, "mount(propagation)");
    return 0;
}

/* With "." as both arguments, the old root is mounted over the new one, and no directory is needed for it
 * (pivot_root(2)). */
int do_pivot_root(struct stub *stub, const struct step *step) {
    (void)step;
    cleanup_close int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old < 0)
        return failed(stub, "open");
    if (fchdir(stub->root) < 0)
        return failed(stub, "fchdir");
    if (sys_pivot_root(".", ".") < 0)
        return failed(stub, "pivot_root");
    if (fchdir(old) < 0)
        return failed(stub, "fchdir");
    /* The unmount must not propagate to the host through a shared mount. */
    if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return failed(stub, "mount(propagation)");
    if (umount2(".", MNT_DETACH) < 0)
        return failed(stub, "umount2");
    if (chdir("/") < 0)
        return failed(stub, "chdir");
    return 0;
}

int do_chroot(struct stub *stub, const struct step *step) {
    (void)step;
    if (fchdir(stub->root) < 0)
        return failed(stub, "fchdir");
    if (chroot(".") < 0)
        return failed(stub, "chroot");
    if (chdir("/") < 0)
        return failed(stub, "chdir");
    return 0;
}

/* The new root is moved over /, so it is also the root for processes that enter this mount namespace. The old root is
 * below it. All other mounts on the old root are unmounted: a procfs without masks anywhere in the namespace would
 * allow any user namespace in the container to mount a procfs. */
int do_move_root(struct stub *stub, const struct step *step) {
    cleanup_close int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return failed(stub, "open");
    /* ELOOP: it is there already. */
    if (sys_move_mount(stub->root, "", top, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 && errno != ELOOP)
        return failed(stub, "move_mount");
    int left = leave_root(stub, top);
    if (left < 0)
        return -1;
    /* If a hidden mount stays, pivot_root(2) is tried: a root that cannot be pivoted seldom hides mounts. */
    return left ? do_pivot_root(stub, step) : do_chroot(stub, step);
}

int do_here(struct stub *stub, const struct step *step) {
    if (step->fd >= 0 && (fchdir(step->fd) < 0 || chroot(".") < 0))
        return failed(stub, "chroot");
    stub->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return stub->root < 0 ? failed(stub, "open") : 0;
}
