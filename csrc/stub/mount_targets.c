/* Where mounts may be made, and what is at /proc and /sys of the container.
 *
 * A destination is text, and links of the root filesystem can make it lead anywhere: with a link /way -> /, /way/proc
 * is /proc. So the checks use the descriptor to which the destination led: the mount that contains it, by mount ID, and
 * whether it is the root of that mount. docs/mounts.md has the table of what is allowed, and why.
 */
#include <linux/magic.h>
#include <sys/vfs.h>

#include "stub.h"
#include "syscalls.h"

enum { PROC, SYS, VIEWS };
static const char *const view_paths[VIEWS] = {[PROC] = "/proc", [SYS] = "/sys"};

enum { PROC_ROOT_INODE = 1 }; /* of every procfs: PROC_ROOT_INO of linux/proc_ns.h */

/* Files that LXCFS and CRIU provide instead of the kernel. pyruntime/spec/rules/mounts.py has the same list. */
static const char *const served[] = {
    "cpuinfo", "diskstats", "loadavg",  "meminfo", "slabinfo", "stat",
    "swaps",   "uptime",    "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
};

int look_at(struct stub *stub, int fd, struct place *place) {
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE | STATX_MNT_ID, &status) < 0)
        return failed(stub, "statx");
    place->mount = status.stx_mnt_id;
    place->root = (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    place->mode = status.stx_mode;
    return 0;
}

int mount_id(struct stub *stub, int fd, uint64_t *id) {
    struct place place;
    if (look_at(stub, fd, &place) < 0)
        return -1;
    *id = place.mount;
    return 0;
}

static bool is_root_of(const struct view *view, const struct place *place) {
    return view->fd > 0 && place->mount == view->mount && place->root;
}

static bool is_path_of_view(const struct stub *stub, const struct step *step, int index) {
    return strcmp(stub_string(stub, step->path), view_paths[index]) == 0;
}

/* By inode: while the descriptor is open, no other file gets this number. */
static bool is_served(const struct stub *stub, int destination) {
    struct stat status, other;
    if (fstat(destination, &status) < 0)
        return false;
    for (size_t i = 0; i < sizeof served / sizeof *served; i++)
        if (fstatat(stub->views[PROC].fd, served[i], &other, AT_SYMLINK_NOFOLLOW) == 0 &&
            other.st_dev == status.st_dev && other.st_ino == status.st_ino)
            return true;
    return false;
}

/* Refuses what the kernel would do. "check" is no system call, so the error is these words alone. */
int refuse(struct stub *stub, const char *words) {
    snprintf(stub->text, sizeof stub->text, "%s", words);
    errno = EPERM;
    return failed(stub, "check");
}

/* Fills `place` from the descriptor of a destination; fails if nothing may be mounted there. */
int check_destination(struct stub *stub, const struct step *step, int destination, struct place *place) {
    if (look_at(stub, destination, place) < 0)
        return -1;
    if (place->root && place->mount == stub->root_mount)
        return refuse(stub, "its destination leads to the root of the container");
    const struct view *proc = &stub->views[PROC];
    if (is_root_of(proc, place))
        return refuse(stub, "its destination leads to /proc, and would cover what is mounted there");
    if (proc->fd > 0 && place->mount == proc->mount && !is_served(stub, destination))
        return refuse(stub, "its destination leads into /proc");
    const char *fstype = stub_string(stub, step->fstype);
    bool kernels = strcmp(fstype, "proc") == 0 || strcmp(fstype, "sysfs") == 0;
    if ((kernels || is_path_of_view(stub, step, PROC) || is_path_of_view(stub, step, SYS)) && !S_ISDIR(place->mode)) {
        snprintf(stub->text, sizeof stub->text, "%s is mounted on an ordinary directory only",
                 *fstype ? fstype : stub_string(stub, step->path));
        errno = S_ISLNK(place->mode) ? ELOOP : ENOTDIR;
        return failed(stub, "statx");
    }
    return 0;
}

/* The kernel's own filesystems, and all that is mounted at /proc and /sys, must be at the path that the step names: a
 * link could lead elsewhere when paths below it are masked (CVE-2019-19921, CVE-2023-27561). */
static bool follows(const struct stub *stub, const struct step *step) {
    const char *fstype = stub_string(stub, step->fstype);
    return !(step->flags & STEP_NOFOLLOW) && strcmp(fstype, "proc") != 0 && strcmp(fstype, "sysfs") != 0 &&
           !is_path_of_view(stub, step, PROC) && !is_path_of_view(stub, step, SYS);
}

/* Returns a descriptor of the step's destination, made if missing, after the check that a mount is allowed there. */
int destination_of(struct stub *stub, const struct step *step, enum want want, struct place *place) {
    int destination = resolve_or_make(stub, stub_string(stub, step->path), want, follows(stub, step), &place->made);
    if (destination < 0)
        return -1;
    if (check_destination(stub, step, destination, place) == 0)
        return destination;
    close_fd(&destination);
    return -1;
}

/* Programs rely on /proc, so only a complete procfs may be bound there. In a part of a procfs, the paths to mask and to
 * protect would be elsewhere. */
int check_source(struct stub *stub, const struct step *step, int tree, const struct stat *status) {
    if (!is_path_of_view(stub, step, PROC))
        return 0;
    struct statfs filesystem;
    if (fstatfs(tree, &filesystem) < 0)
        return failed(stub, "fstatfs");
    if (filesystem.f_type == PROC_SUPER_MAGIC && status->st_ino == PROC_ROOT_INODE)
        return 0;
    return refuse(stub, "its source is not the root of a procfs");
}

/* Records what is at /proc and /sys after `mount` was attached at `place`: either the step names these paths, or the
 * mount covers what was there. */
int update_views(struct stub *stub, const struct step *step, const struct place *place, int mount) {
    for (int i = 0; i < VIEWS; i++) {
        struct view *view = &stub->views[i];
        if (!is_path_of_view(stub, step, i) && !is_root_of(view, place))
            continue;
        int fd = fcntl(mount, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return failed(stub, "fcntl");
        if (view->fd > 0)
            close_fd(&view->fd);
        view->fd = fd;
        if (mount_id(stub, fd, &view->mount) < 0)
            return -1;
    }
    return 0;
}

/* Gives later steps that change a mount at the path of `step` a descriptor of `mount`. By then the path may lead to
 * another mount, because a process that shares the root filesystem has renamed something. */
int keep_for_changes(struct stub *stub, const struct step *step, int mount) {
    for (uint32_t i = stub->step_index + 1; i < stub->step_count; i++) {
        struct step *other = &stub->steps[i];
        if ((other->op != OP_REMOUNT && other->op != OP_SETATTR) ||
            strcmp(stub_string(stub, other->path), stub_string(stub, step->path)) != 0)
            continue;
        close_fd(&other->fd);
        other->fd = fcntl(mount, F_DUPFD_CLOEXEC, 3);
        if (other->fd < 0)
            return failed(stub, "fcntl");
    }
    return 0;
}

/* Returns a descriptor, to be closed, of the mount that the step changes: that of an earlier step for the same path, or
 * what is at the path. A link could lead to the mount of another entry. */
int mount_to_change(struct stub *stub, const struct step *step) {
    return step->fd >= 0 ? step->fd : resolve_without_links(stub, stub_string(stub, step->path));
}

/* Returns the view that contains `path`, and the rest of the path below it; NULL if there is none. */
const struct view *view_above(const struct stub *stub, const char *path, const char **rest) {
    for (int i = 0; i < VIEWS; i++) {
        size_t length = strlen(view_paths[i]);
        if (stub->views[i].fd <= 0 || strncmp(path, view_paths[i], length) != 0 || (path[length] && path[length] != '/'))
            continue;
        *rest = path + length + strspn(path + length, "/");
        return &stub->views[i];
    }
    return NULL;
}
