/* The root of the mount namespace: its propagation, and the change from the host's root to the container's. */
#include "stub.h"
#include "syscalls.h"

int do_propagation(struct stub *stub, const struct step *step) {
    if (mount(NULL, "/", NULL, step->rec_propagation | MS_REC, NULL) < 0)
        return failed(stub, "mount(propagation)");
    return 0;
}

/* With both arguments ".", the old root ends up mounted over the new one and no directory of the container is needed
 * to hold it (pivot_root(2)). */
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
    /* Unmounting must not reach the host through a shared mount. */
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

/* Over / it is the root for whoever enters this mount namespace, too. What was there before lies below it, and every
 * other mount of it is taken away: a procfs that is mounted somewhere in the namespace without masks would let any user
 * namespace in the container mount another such. */
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
    /* What --no-pivot is for, a root that cannot be pivoted, is seldom where mounts hide mounts. */
    return left ? do_pivot_root(stub, step) : do_chroot(stub, step);
}

int do_here(struct stub *stub, const struct step *step) {
    if (step->fd >= 0 && (fchdir(step->fd) < 0 || chroot(".") < 0))
        return failed(stub, "chroot");
    stub->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return stub->root < 0 ? failed(stub, "open") : 0;
}
