/* The root filesystem and bind mounts. They are cloned as detached trees and attached to a descriptor, because a path
 * could change meanwhile. */
#include <sys/sysmacros.h>

#include "stub.h"
#include "syscalls.h"

static bool is_directory(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

int move_onto(struct stub *stub, int tree, int destination) {
    if (sys_move_mount(tree, "", destination, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0)
        return 0;
    /* The kernel uses this errno for many reasons; this is the one that config.json or the root filesystem can
     * cause. */
    if (errno == EINVAL && is_directory(tree) != is_directory(destination))
        errno = is_directory(tree) ? ENOTDIR : EISDIR;
    return failed(stub, "move_mount");
}

/* Sets the attributes of the detached `tree` and attaches it to the descriptor `destination`. */
int attach(struct stub *stub, int tree, const struct step *step, int destination) {
    bool later;
    if (set_attributes(stub, tree, step, false, &later) < 0)
        return -1;
    if (move_onto(stub, tree, destination) < 0)
        return -1;
    return later ? set_attributes(stub, tree, step, true, &later) : 0;
}

/* Returns a detached copy of the step's source: a tree that the host has cloned, or a path in this mount namespace. */
static int source_tree(struct stub *stub, const struct step *step) {
    if (step->flags & STEP_MADE)
        return device_tree(stub, step->fd);
    if (step->fd >= 0) {
        int tree = fcntl(step->fd, F_DUPFD_CLOEXEC, 0);
        return tree < 0 ? failed(stub, "fcntl") : tree;
    }
    int tree = pyr_clone_tree(AT_FDCWD, stub_string(stub, step->source), step->flags);
    if (tree < 0) {
        errno = -tree;
        return failed(stub, "open_tree");
    }
    return tree;
}

/* Returns a detached copy of the tree at `path`, or -errno. The host calls it too. Of a step's flags it uses those of
 * the source. */
int pyr_clone_tree(int dirfd, const char *path, uint32_t flags) {
    unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    if (flags & STEP_RECURSIVE)
        how |= AT_RECURSIVE;
    if (flags & STEP_SOURCE_NOFOLLOW)
        how |= AT_SYMLINK_NOFOLLOW;
    if (!path[0])
        how |= AT_EMPTY_PATH;
    int tree = sys_open_tree(dirfd, path, how);
    return tree < 0 ? -errno : tree;
}

/* Tells whether the kernel has mount_setattr(2) (Linux 5.12): any error but ENOSYS for an invalid descriptor says
 * so. */
int pyr_has_mount_setattr(void) { return sys_mount_setattr(-1, 0, 0, 0, 0, -1) == 0 || errno != ENOSYS; }

/* Maps the owners of `tree`. The host calls it too: it has the privileges over the filesystem that the container's user
 * namespace lacks. Returns 0 or -errno. */
/* Upholds config.md#posix-platform-mounts/uid-mappings-by-setattr, config.md#linux-mount-options/idmap,
   config.md#linux-mount-options/ridmap. */
int pyr_idmap_tree(int tree, int userns, int recursive) {
    return sys_mount_setattr(tree, recursive ? AT_RECURSIVE : 0, MOUNT_ATTR_IDMAP, 0, 0, userns) < 0 ? -errno : 0;
}

static bool is_same_file(int one, int other) {
    struct stat first, second;
    return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* The place where the root filesystem is attached until it becomes the root. Usually it is the directory of the root
 * filesystem itself: there hooks of create look for it and its mounts, and a bind mount of / does not contain it.
 * Otherwise it is /, which always exists and which every user namespace may search. */
static int root_place(struct stub *stub, const struct step *step, int tree, bool *own) {
    int place = open(stub_string(stub, step->source), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place >= 0 && !is_same_file(place, tree)) {
        close_fd(&place);
        place = -1; /* what lies there now is the host's */
        errno = ESTALE;
    }
    *own = place >= 0;
    if (place >= 0 || step->flags & STEP_IN_PLACE)
        return place;
    return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* An unbindable mount between the root and its place. A recursive bind mount of a directory above, for example of all
 * images, then leaves out the container's own mounts (mount_namespaces(7)). Otherwise a procfs among them would be
 * visible without masks at another path. */
static int unbindable_place(struct stub *stub, int place) {
    cleanup_close int context = sys_fsopen("tmpfs");
    if (context < 0 || sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
        return failed(stub, "fsopen");
    int mounted = sys_fsmount(context, 0);
    if (mounted < 0)
        return failed(stub, "fsmount");
    if (move_onto(stub, mounted, place) == 0) {
        if (sys_mount_setattr(mounted, 0, 0, 0, MS_UNBINDABLE, -1) == 0 ||
            (errno == ENOSYS && mount_on(stub, mounted, NULL, NULL, MS_UNBINDABLE, NULL) == 0))
            return mounted;
        failed(stub, "mount_setattr");
    }
    close_fd(&mounted);
    return -1;
}

/* rootfsPropagation says whether later mounts of the host appear in it. */
int do_root(struct stub *stub, const struct step *step) {
    int tree = source_tree(stub, step);
    if (tree < 0)
        return -1;
    bool own;
    cleanup_close int place = root_place(stub, step, tree, &own);
    if (place < 0) {
        close_fd(&tree);
        return failed(stub, "open");
    }
    /* If it is over /, it would prevent the unmounting of the old root. */
    bool between = own && !(step->flags & STEP_IN_PLACE);
    cleanup_close int apart = between ? unbindable_place(stub, place) : -1;
    if ((between && apart < 0) || attach(stub, tree, step, between ? apart : place) < 0) {
        close_fd(&tree);
        return -1;
    }
    stub->root = tree;
    return mount_id(stub, tree, &stub->root_mount);
}

static int check_device(struct stub *stub, int tree, const struct step *step) {
    struct stat status;
    if (fstat(tree, &status) < 0)
        return failed(stub, "fstat");
    if ((status.st_mode & S_IFMT) != (step->mode & S_IFMT) || status.st_rdev != step->dev) {
        errno = ENXIO;
        snprintf(stub->text, sizeof stub->text, "the host's node is another device (%u:%u)", major(status.st_rdev),
                 minor(status.st_rdev));
        return failed(stub, "fstat");
    }
    return 0;
}

/* The errno of mount(2); that of move_mount(2) is EINVAL. Docker prints advice to its user for ENOTDIR. */
static int check_kind(struct stub *stub, const struct place *destination, const struct stat *source) {
    if (S_ISDIR(destination->mode) == S_ISDIR(source->st_mode))
        return 0;
    errno = ENOTDIR;
    snprintf(stub->text, sizeof stub->text, "%s",
             S_ISDIR(source->st_mode) ? "a directory over a file" : "a file over a directory");
    return failed(stub, "move_mount");
}

int do_bind(struct stub *stub, const struct step *step) {
    cleanup_close int tree = source_tree(stub, step);
    if (tree < 0)
        return -1;
    if (step->flags & STEP_DEVICE && check_device(stub, tree, step) < 0)
        return -1;
    struct stat status;
    if (fstat(tree, &status) < 0)
        return failed(stub, "fstat");
    if (check_source(stub, step, tree, &status) < 0)
        return -1;
    struct place place;
    cleanup_close int destination =
        destination_of(stub, step, S_ISDIR(status.st_mode) ? WANT_DIRECTORY : WANT_FILE, &place);
    if (destination < 0 || check_kind(stub, &place, &status) < 0 || attach(stub, tree, step, destination) < 0)
        return -1;
    return update_views(stub, step, &place, tree) < 0 ? -1 : keep_for_changes(stub, step, tree);
}

/* Clones a path of the container, for example a cgroup hierarchy that an earlier step has mounted. */
int clone_inside(struct stub *stub, int place, bool recursive) {
    int tree = pyr_clone_tree(place, "", recursive ? STEP_RECURSIVE : 0);
    if (tree < 0) {
        errno = -tree;
        return failed(stub, "open_tree");
    }
    return tree;
}

int do_bind_inside(struct stub *stub, const struct step *step) {
    bool follow = !(step->flags & STEP_SOURCE_NOFOLLOW);
    cleanup_close int place = resolve(stub, stub_string(stub, step->source), WANT_EXISTING, follow);
    if (place < 0)
        return -1;
    cleanup_close int tree = clone_inside(stub, place, (step->flags & STEP_RECURSIVE) != 0);
    if (tree < 0)
        return -1;
    struct step here = *step;
    here.fd = tree;
    return do_bind(stub, &here);
}

int do_remount(struct stub *stub, const struct step *step) {
    cleanup_close int mounted = mount_to_change(stub, step);
    if (mounted < 0)
        return -1;
    char data[4096];
    if (join_options(stub, step, data) < 0)
        return -1;
    unsigned long flags = apply_attributes(flags_of(mounted), step->attr_set, step->attr_clr);
    if (step->flags & STEP_RECURSIVE || step->sb_flags & MS_BIND)
        flags |= MS_BIND;
    if (mount_on(stub, mounted, NULL, NULL, MS_REMOUNT | (unsigned long)step->sb_flags | flags, data) < 0)
        return failed(stub, "mount(remount)");
    bool later;
    struct step rest = *step;
    rest.attr_set = rest.attr_clr = 0;
    return set_attributes(stub, mounted, &rest, true, &later);
}

int do_setattr(struct stub *stub, const struct step *step) {
    cleanup_close int mounted = mount_to_change(stub, step);
    bool later;
    return mounted < 0 ? -1 : set_attributes(stub, mounted, step, true, &later);
}
