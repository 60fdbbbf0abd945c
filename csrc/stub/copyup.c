/* tmpcopyup: a tmpfs that starts with the contents of the directory it covers (config.md#linux-mount-options). */
#include <dirent.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#include "stub.h"

enum { DEPTH_LIMIT = 128 }; /* a hostile tree may be deep; the stack is not */

static int copy_directory(struct stub *stub, int from, int to, int depth);

static int copy_owner(struct stub *stub, int fd, const struct stat *status) {
    /* EINVAL: the user namespace does not map this owner. */
    if (fchown(fd, status->st_uid, status->st_gid) < 0 && errno != EINVAL)
        return failed(stub, "fchown");
    return 0;
}

static int copy_times(struct stub *stub, int fd, const struct stat *status) {
    const struct timespec times[2] = {status->st_atim, status->st_mtim};
    return futimens(fd, times) < 0 ? failed(stub, "futimens") : 0;
}

/* The owner first: a change of owner clears the set-user-ID bits. */
static int copy_status(struct stub *stub, int fd, const struct stat *status) {
    if (copy_owner(stub, fd, status) < 0)
        return -1;
    if (fchmod(fd, status->st_mode & 07777) < 0)
        return failed(stub, "fchmod");
    return copy_times(stub, fd, status);
}

static int copy_file(struct stub *stub, int from, int to, const char *name, const struct stat *status) {
    /* It does not wait for a lease (fcntl(2)), which a process that shares the root filesystem could take on each file. */
    cleanup_close int in = openat(stub->proc, fd_path(from).text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (in < 0 && errno == EWOULDBLOCK)
        snprintf(stub->text, sizeof stub->text, "tmpcopyup: a process has a lease on %.300s", name);
    if (in < 0)
        return failed(stub, "openat");
    cleanup_close int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return failed(stub, "openat");
    for (;;) {
        ssize_t sent = sendfile(out, in, NULL, 1 << 20);
        if (sent < 0)
            return failed(stub, "sendfile");
        if (sent == 0)
            break;
    }
    return copy_status(stub, out, status);
}

static int copy_link(struct stub *stub, int from, int to, const char *name, const struct stat *status) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(from, "", target, sizeof target - 1);
    if (length < 0)
        return failed(stub, "readlinkat");
    target[length] = '\0';
    if (symlinkat(target, to, name) < 0)
        return failed(stub, "symlinkat");
    if (fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(stub, "fchownat");
    return 0;
}

static int copy_node(struct stub *stub, int to, const char *name, const struct stat *status) {
    if (mknodat(to, name, status->st_mode, status->st_rdev) < 0)
        return failed(stub, "mknodat");
    if (fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(stub, "fchownat");
    /* The umask has removed some bits. No other process can reach the new filesystem yet. */
    if (fchmodat(to, name, status->st_mode & 07777, 0) < 0)
        return failed(stub, "fchmodat");
    return 0;
}

static int copy_subdirectory(struct stub *stub, int from, int to, const char *name, const struct stat *status, int depth) {
    if (depth >= DEPTH_LIMIT) {
        errno = ELOOP;
        return failed(stub, "tmpcopyup");
    }
    if (mkdirat(to, name, 0700) < 0)
        return failed(stub, "mkdirat");
    cleanup_close int in = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (in < 0)
        return failed(stub, "openat");
    cleanup_close int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0)
        return failed(stub, "openat");
    if (copy_directory(stub, in, out, depth + 1) < 0)
        return -1;
    return copy_status(stub, out, status);
}

/* Owner, mode and content come from one descriptor. By its name another file could come in between: one user's content
 * would get another's owner and set-user-ID bit, or a device would be opened, which can have effects. */
static int copy_entry(struct stub *stub, int from, int to, const char *name, int depth) {
    cleanup_close int entry = openat(from, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (entry < 0)
        return failed(stub, "openat");
    struct stat status;
    if (fstat(entry, &status) < 0)
        return failed(stub, "fstat");
    switch (status.st_mode & S_IFMT) {
    case S_IFREG:
        return copy_file(stub, entry, to, name, &status);
    case S_IFDIR:
        return copy_subdirectory(stub, entry, to, name, &status, depth);
    case S_IFLNK:
        return copy_link(stub, entry, to, name, &status);
    case S_IFSOCK:
        return 0; /* nobody listens on the copy */
    default:
        return copy_node(stub, to, name, &status);
    }
}

static int copy_directory(struct stub *stub, int from, int to, int depth) {
    int own = fcntl(from, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return failed(stub, "fcntl");
    DIR *directory = fdopendir(own);
    if (!directory) {
        close_fd(&own);
        return failed(stub, "fdopendir");
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (!entry) {
            result = errno ? failed(stub, "readdir") : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = copy_entry(stub, from, to, entry->d_name, depth);
    }
    int saved = errno;
    closedir(directory);
    errno = saved;
    return result;
}

/* Copies the contents of the directory `from` (O_PATH) into the new mount `to`, and its times; with `with_owner` its
 * owner too. `to` has its mode already. */
int copy_up(struct stub *stub, int from, int to, bool with_owner) {
    cleanup_close int in = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (in < 0)
        return failed(stub, "openat");
    cleanup_close int out = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out < 0)
        return failed(stub, "openat");
    if (copy_directory(stub, in, out, 0) < 0)
        return -1;
    struct stat status;
    if (fstat(in, &status) < 0)
        return failed(stub, "fstat");
    if (with_owner && copy_owner(stub, out, &status) < 0)
        return -1;
    return copy_times(stub, out, &status);
}
