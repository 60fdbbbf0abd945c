/* Directories, links, devices and the console (config-linux.md#devices, #default-devices; runtime-linux.md#dev-symbolic-links). */
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "sockets.h"
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

/* Returns the place of the console, made if missing. A link there is refused: it could lead to a path that a later step
 * protects (CVE-2025-52565). */
static int console_place(struct stub *stub, const char *path) {
    char name[256];
    cleanup_close int parent = resolve_parent(stub, path, name);
    if (parent < 0)
        return -1;
    int made = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);
    if (made >= 0)
        close_fd(&made);
    else if (errno != EEXIST && errno != EROFS)
        return failed(stub, "openat");
    cleanup_close int place = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (place < 0 || fstat(place, &status) < 0)
        return failed(stub, "openat");
    if (S_ISLNK(status.st_mode)) {
        errno = ELOOP;
        snprintf(stub->text, sizeof stub->text, "%s is a symbolic link", path);
        return failed(stub, "openat");
    }
    int result = place;
    place = -1;
    return result;
}

/* Sends the terminal's master to the console socket. The message is its name, as with runc. */
static int send_master(struct stub *stub, int master) {
    static const char name[] = "/dev/ptmx";
    if (stub->console_socket < 0)
        return 0;
    int answer = pyr_send_fd(stub->console_socket, master, name, sizeof name - 1);
    if (answer < 0) {
        errno = -answer;
        return failed(stub, "sendmsg");
    }
    close_fd(&stub->console_socket);
    stub->console_socket = -1;
    return 0;
}

/* Opens a pseudoterminal of the devpts that a mount step made. The slave is opened through the master, so no path of
 * the container is trusted. */
int do_console(struct stub *stub, const struct step *step) {
    cleanup_close int place = resolve(stub, "/dev/pts/ptmx", WANT_EXISTING, false);
    if (place < 0)
        return -1;
    struct statfs filesystem;
    if (fstatfs(place, &filesystem) < 0)
        return failed(stub, "fstatfs");
    if (filesystem.f_type != DEVPTS_SUPER_MAGIC) {
        errno = ENODEV;
        snprintf(stub->text, sizeof stub->text, "/dev/pts is not a devpts");
        return failed(stub, "open(/dev/pts/ptmx)");
    }
    /* Through the host's procfs: in the mount namespace that exec joins, processes of the container may have changed
     * /proc. */
    cleanup_close int master = openat(stub->proc, fd_path(place).text, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return failed(stub, "open(/dev/pts/ptmx)");
    int unlocked = 0;
    if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return failed(stub, "ioctl(TIOCSPTLCK)");
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return failed(stub, "ioctl(TIOCGPTPEER)");
    stub->terminal = slave;
    /* The group stays that of the mount of devpts (tty), so that other users cannot write to the terminal. */
    if (fchown(slave, step->uid, (gid_t)-1) < 0)
        return failed(stub, "fchown");
    if (send_master(stub, master) < 0)
        return -1;
    if (!step->path)
        return 0; /* exec: the container's console is that of its first process */
    cleanup_close int tree = pyr_clone_tree(slave, "", 0);
    if (tree < 0) {
        errno = -tree;
        return failed(stub, "open_tree");
    }
    cleanup_close int destination = console_place(stub, stub_string(stub, step->path));
    struct place seen;
    if (destination < 0 || check_destination(stub, step, destination, &seen) < 0)
        return -1;
    return attach(stub, tree, step, destination);
}
