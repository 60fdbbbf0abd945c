/* The container's console: the pseudoterminal, its place in /dev, and its master for the console socket
 * (config.md#process, config-linux.md#default-devices). */
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "sockets.h"
#include "stub.h"
#include "syscalls.h"

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
