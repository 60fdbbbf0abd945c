/* Masked and read-only paths (config-linux.md#masked-paths, #readonly-paths): they are covered, and checked again after
 * the root has changed. */
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "stub.h"
#include "syscalls.h"

static bool absent(int error) { return error == ENOENT || error == ENOTDIR; }

/* The message if a process in the container would see something else at the step's path. */
static int uncovered(struct stub *stub, const struct step *step, const char *words) {
    stub->wrong = step;
    return refuse(stub, words);
}

static const char *const not_seen =
    "its filesystem is not what the container sees there: a hook has covered it, or somebody renamed its directory";

/* Opens a path to hide. A path below /proc or /sys is resolved from the descriptor of what a step mounted there: a
 * process that shares the root filesystem can rename the directory of that mount, so that the path leads elsewhere, and
 * rename it back later (CVE-2023-27561). */
static int open_hidden(struct stub *stub, const struct step *step) {
    const char *path = stub_string(stub, step->path), *rest;
    const struct view *view = view_above(stub, path, &rest);
    if (view) {
        int fd = sys_openat2(view->fd, *rest ? rest : ".", O_PATH | O_CLOEXEC, 0,
                             RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd >= 0)
            return fd;
        if (errno != EXDEV)
            return failed(stub, "openat2");
    }
    return resolve(stub, path, WANT_EXISTING, true);
}

static int note_device(struct stub *stub) {
    struct stat status;
    if (fstat(stub->empty, &status) < 0)
        return failed(stub, "fstat");
    stub->empty_device = status.st_dev;
    return 0;
}

/* Returns an empty directory of a read-only filesystem, which all masked directories share. The step describes it. */
static int empty_directory(struct stub *stub, const struct step *step) {
    if (stub->empty > 0)
        return clone_inside(stub, stub->empty, false);
    int mount = new_filesystem(stub, step);
    if (mount < 0)
        return -1;
    stub->empty = fcntl(mount, F_DUPFD_CLOEXEC, 3);
    if (stub->empty >= 0 && note_device(stub) == 0)
        return mount;
    if (stub->empty < 0) {
        stub->empty = 0;
        failed(stub, "fcntl");
    }
    close_fd(&mount);
    return -1;
}

/* The host's null device: the one in the container could be anything (CVE-2025-31133). */
static int null_device(struct stub *stub) {
    int tree = pyr_clone_tree(AT_FDCWD, "/dev/null", 0);
    if (tree >= 0)
        return tree;
    errno = -tree;
    return failed(stub, "open_tree");
}

static bool is_root(const struct stub *stub, const struct place *place) {
    return place->root && place->mount == stub->root_mount;
}

/* Returns -1, with an own message if what a step had mounted at /proc or /sys is gone. */
static int not_hidden(struct stub *stub, const struct step *step) {
    const char *rest;
    return errno == EINVAL && view_above(stub, stub_string(stub, step->path), &rest) ? refuse(stub, not_seen) : -1;
}

int do_mask(struct stub *stub, const struct step *step) {
    cleanup_close int fd = open_hidden(stub, step);
    if (fd < 0)
        return absent(errno) ? 0 : -1;
    struct place place;
    if (look_at(stub, fd, &place) < 0)
        return -1;
    if (is_root(stub, &place))
        return refuse(stub, "it leads to the root of the container");
    bool directory = S_ISDIR(place.mode);
    cleanup_close int cover = directory ? empty_directory(stub, step) : null_device(stub);
    if (cover < 0)
        return -1;
    /* The null device, too, becomes read-only: the mode and the owner of the host's could be changed through it. */
    if ((directory ? move_onto(stub, cover, fd) : attach(stub, cover, step, fd)) < 0)
        return not_hidden(stub, step);
    return update_views(stub, step, &place, cover);
}

/* Covers the path with a copy of its mount. `attr_set` makes only this mount read-only, `rec_set` also the mounts
 * below. If the path is the root, its own attributes are set: a mount over the root would not be the root. */
int do_readonly(struct stub *stub, const struct step *step) {
    cleanup_close int fd = open_hidden(stub, step);
    if (fd < 0)
        return absent(errno) ? 0 : -1;
    struct place place;
    if (look_at(stub, fd, &place) < 0)
        return -1;
    if (is_root(stub, &place)) {
        bool later;
        return set_attributes(stub, stub->root, step, true, &later);
    }
    cleanup_close int tree = clone_inside(stub, fd, (step->flags & STEP_RECURSIVE) != 0);
    if (tree < 0 || attach(stub, tree, step, fd) < 0)
        return not_hidden(stub, step);
    return update_views(stub, step, &place, tree);
}

static int verify_view(struct stub *stub, const struct step *step, const char *path) {
    const char *rest;
    const struct view *view = view_above(stub, path, &rest);
    if (!view)
        return 0;
    struct statx status;
    char name[8];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(path + 1, "/") + 1, path);
    if (statx(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) == 0 &&
        status.stx_mnt_id == view->mount)
        return 0;
    return uncovered(stub, step, not_seen);
}

static int verify_mask(struct stub *stub, const struct step *step) {
    struct statx status;
    if (statx(AT_FDCWD, stub_string(stub, step->path), AT_NO_AUTOMOUNT, STATX_TYPE, &status) < 0) {
        if (absent(errno))
            return 0;
        stub->wrong = step;
        return failed(stub, "statx");
    }
    bool null = S_ISCHR(status.stx_mode) && status.stx_rdev_major == 1 && status.stx_rdev_minor == 3;
    bool empty = S_ISDIR(status.stx_mode) && stub->empty > 0 &&
                 makedev(status.stx_dev_major, status.stx_dev_minor) == stub->empty_device;
    if (status.stx_attributes & STATX_ATTR_MOUNT_ROOT && (null || empty))
        return 0;
    return uncovered(stub, step, "the container sees something else there: a hook has covered it, or somebody renamed it");
}

static int verify_readonly(struct stub *stub, const struct step *step) {
    struct statfs status;
    if (statfs(stub_string(stub, step->path), &status) < 0) {
        if (absent(errno))
            return 0;
        stub->wrong = step;
        return failed(stub, "statfs");
    }
    return status.f_flags & MS_RDONLY ? 0 : verify_mask(stub, step); /* it may be masked, too */
}

/* A mount over the root is the root for exec, and for a process that goes to "..". If root.path leads to the root of the
 * host, that stays above the container's. */
static int verify_root(struct stub *stub, const struct step *step) {
    struct statx status;
    if (statx(AT_FDCWD, "/..", 0, STATX_MNT_ID, &status) < 0)
        return failed(stub, "statx");
    if (status.stx_mnt_id == stub->root_mount)
        return 0;
    return uncovered(stub, step, "the container sees another root: a hook has covered it, or root.path is the host's");
}

/* After the change of the root, looks up each path to hide again, as a process of the container does. It must lead to
 * what hides it, in what a step has mounted at /proc or /sys. Otherwise a hook has mounted over it, or a process that
 * shares the root filesystem has renamed it, and create fails. */
int do_verify(struct stub *stub, const struct step *step) {
    const struct view *seen = NULL;
    if (verify_root(stub, step) < 0)
        return -1;
    for (const struct step *one = stub->steps; one < step; one++) {
        if (one->op != OP_MASK && one->op != OP_READONLY)
            continue;
        const char *path = stub_string(stub, one->path), *rest;
        const struct view *view = view_above(stub, path, &rest);
        if (view != seen && verify_view(stub, one, path) < 0)
            return -1;
        seen = view ? view : seen;
        if ((one->op == OP_MASK ? verify_mask(stub, one) : verify_readonly(stub, one)) < 0)
            return -1;
    }
    return 0;
}
