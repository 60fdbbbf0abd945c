/* Directories, links and devices (config-linux.md#devices, #default-devices; runtime-linux.md#dev-symbolic-links). */
#include <limits.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "stub.h"
#include "syscalls.h"

int do_mkdir(struct stub *stub, const struct step *step) {
    const char *path = stub_string(stub, step->path);
    cleanup_close int fd = resolve(stub, path, WANT_DIRECTORY, true);
    return fd < 0 ? -1 : 0;
}

enum { SYMLINK_TRIES = 100 }; /* each needs another container that comes in between */

/* Tells whether `name` is already the wanted link to `target`. */
static int is_link(struct stub *stub, int parent, const char *name, const char *target) {
    char found[PATH_MAX];
    ssize_t length = readlinkat(parent, name, found, sizeof found);
    if (length < 0 && errno != EINVAL)
        return failed(stub, "readlinkat");
    if (length == (ssize_t)strlen(target) && memcmp(found, target, (size_t)length) == 0)
        return 0;
    snprintf(stub->text, sizeof stub->text, "%s",
             length < 0 ? "the file that is there is no link" : "the link that is there leads elsewhere");
    errno = EEXIST;
    return failed(stub, "symlinkat");
}

/* Upholds runtime-linux.md#dev-symbolic-links/links. */
int do_symlink(struct stub *stub, const struct step *step) {
    const char *target = stub_string(stub, step->source);
    if (step->flags & STEP_IF_PRESENT) {
        cleanup_close int there = resolve(stub, target, WANT_EXISTING, false);
        if (there < 0)
            return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    }
    char name[256];
    cleanup_close int parent = resolve_parent(stub, stub_string(stub, step->path), name);
    if (parent < 0)
        return -1;
    /* Another container on the same root filesystem may make or remove it at the same time, so check what is there. */
    for (int tries = 0; symlinkat(target, parent, name) < 0; tries++) {
        if (errno != EEXIST || tries == SYMLINK_TRIES)
            return failed(stub, "symlinkat");
        if (step->flags & STEP_COPY_SYMLINK || !(step->flags & STEP_REPLACE))
            return step->flags & STEP_COPY_SYMLINK ? is_link(stub, parent, name, target) : 0;
        if (is_link(stub, parent, name, target) == 0)
            return 0;
        stub->text[0] = '\0';
        if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
            return failed(stub, "unlinkat");
    }
    return 0;
}

/* Upholds config-linux.md#devices/other-file-in-place. */
static int check_node(struct stub *stub, int node, const struct step *step) {
    struct stat status;
    if (fstat(node, &status) < 0)
        return failed(stub, "fstat");
    bool device = S_ISCHR(step->mode) || S_ISBLK(step->mode);
    if ((status.st_mode & S_IFMT) == (step->mode & S_IFMT) && (!device || status.st_rdev == step->dev))
        return 0;
    snprintf(stub->text, sizeof stub->text, "the file that is there is not this device");
    errno = EEXIST;
    return failed(stub, "mknodat");
}

/* Upholds config-linux.md#devices/available. */
int do_mknod(struct stub *stub, const struct step *step) {
    char name[256];
    cleanup_close int parent = resolve_parent(stub, stub_string(stub, step->path), name);
    if (parent < 0)
        return -1;
    bool made = mknodat(parent, name, step->mode, (dev_t)step->dev) == 0;
    if (!made && errno != EEXIST)
        return failed(stub, "mknodat");
    cleanup_close int node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (node < 0)
        return failed(stub, "openat");
    /* Check also what was just made: another process may have replaced it. */
    if (check_node(stub, node, step) < 0)
        return -1;
    if (fchownat(node, "", step->uid, step->gid, AT_EMPTY_PATH) < 0)
        return failed(stub, "fchownat");
    if (fchmodat(stub->proc, fd_path(node).text, step->mode & 07777, 0) < 0)
        return failed(stub, "fchmodat");
    return 0;
}

static const char device_name[] = "device";

/* Returns a detached filesystem with this one device, or -errno. For the host: its user namespace may make devices. */
int pyr_device_filesystem(uint32_t mode, uint64_t dev, uint32_t uid, uint32_t gid) {
    cleanup_close int context = sys_fsopen("tmpfs");
    if (context < 0 || sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
        return -errno;
    int mount = sys_fsmount(context, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (mount < 0)
        return -errno;
    if (mknodat(mount, device_name, mode, (dev_t)dev) == 0 && fchownat(mount, device_name, uid, gid, 0) == 0 &&
        fchmodat(mount, device_name, mode & 07777, 0) == 0)
        return mount;
    int error = errno;
    close_fd(&mount);
    return -error;
}

/* Returns the device of such a filesystem as a detached mount. Linux before 6.15 clones only attached mounts, so the
 * filesystem is attached over the root for this. Only a path could reach it there, and the steps use descriptors. */
int device_tree(struct stub *stub, int filesystem) {
    if (move_onto(stub, filesystem, stub->root) < 0)
        return -1;
    int tree = pyr_clone_tree(filesystem, device_name, 0);
    if (unmount_from(stub, filesystem) < 0) {
        if (tree >= 0)
            close_fd(&tree);
        return failed(stub, "umount2");
    }
    if (tree >= 0)
        return tree;
    errno = -tree;
    return failed(stub, "open_tree");
}
