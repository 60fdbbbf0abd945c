/* Masked and read-only paths (config-linux.md#masked-paths, #readonly-paths): covered by what cannot be read or written,
 * and looked at once more when the root has changed. */
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "stub.h"
#include "syscalls.h"

static bool absent(int error) { return error == ENOENT || error == ENOTDIR; }

/* What a process in the container would see at the step's path is something else. */
static int uncovered(struct stub *stub, const struct step *step, const char *words) {
    stub->wrong = step;
    return refuse(stub, words);
}

static const char *const not_seen =
    "its filesystem is not what the container sees there: a hook has covered it, or somebody renamed its directory";

/* The place of a path to hide. Below /proc and /sys it is looked for from the descriptor of what a step mounted there:
 * the directory it is mounted on can be renamed meanwhile by whoever shares the root filesystem, so that the path would
 * lead elsewhere, or nowhere, and all be visible when the name is back (CVE-2023-27561). */
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

/* An empty directory that is read-only for good: the same filesystem for all, which the step describes. */
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

/* The host's: the null device in the container could be anything (CVE-2025-31133). */
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

/* Where that failed: what a step had mounted at /proc or /sys can be gone, too. */
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
    cleanup_close int cover = S_ISDIR(place.mode) ? empty_directory(stub, step) : null_device(stub);
    if (cover < 0)
        return -1;
    if (move_onto(stub, cover, fd) < 0)
        return not_hidden(stub, step);
    return update_views(stub, step, &place, cover);
}

/* A copy of the mount there, which alone becomes read-only with `attr_set`; with `rec_set` so does what is mounted
 * below. The root has its own attributes: what covers it would not be the root. */
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

/* What is mounted over the root is the root for exec, and for whoever leaves it by "..". */
static int verify_root(struct stub *stub, const struct step *step) {
    struct statx status;
    if (statx(AT_FDCWD, "/..", 0, STATX_MNT_ID, &status) < 0)
        return failed(stub, "statx");
    if (status.stx_mnt_id == stub->root_mount)
        return 0;
    return uncovered(stub, step, "the container sees another root: a hook has covered it");
}

/* Once the root is the container's, by the way that its processes go: each path to hide is looked up again, and must
 * lead to what hides it, in what a step has mounted at /proc or /sys. What a hook has mounted over any of it, or whoever
 * shares the root filesystem renamed, ends the creation. */
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
