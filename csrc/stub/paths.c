/* Paths of the container, resolved by descriptor and confined to its root: nothing in the root filesystem is trusted.
 *
 * The kernel confines them: openat2(RESOLVE_IN_ROOT) resolves symlinks and ".." as chroot(2) would, and a concurrent
 * rename cannot lead outside. A path that does not exist yet is made one component at a time, each below a descriptor,
 * never through a string that was checked before.
 */
#include <limits.h>
#include <stdlib.h>

#include "stub.h"
#include "syscalls.h"

enum { LINK_LIMIT = 40 }; /* as many links as the kernel follows in one path */

static int open_below(struct stub *stub, const char *path, uint64_t flags) {
    return sys_openat2(stub->root, path, flags | O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* The path so far, as names without links. So ".." is a step back in this list, and the kernel is not asked. */
struct walk {
    int fd;                /* where the way has led */
    char done[PATH_MAX];   /* its names, each with a leading slash */
    char todo[PATH_MAX];   /* what is left */
    unsigned links;
};

static int back_to(struct stub *stub, struct walk *walk) {
    int fd = sys_openat2(stub->root, walk->done[0] ? walk->done : "/", O_PATH | O_CLOEXEC | O_DIRECTORY, 0,
                         RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return failed(stub, "openat2");
    close_fd(&walk->fd);
    walk->fd = fd;
    return 0;
}

/* Takes the next name from `todo`; returns false if nothing is left. */
static bool next_name(struct walk *walk, char name[NAME_MAX + 1], bool *too_long) {
    char *start = walk->todo;
    while (*start == '/')
        start++;
    size_t length = strcspn(start, "/");
    *too_long = length > NAME_MAX;
    if (length == 0 || *too_long)
        return false;
    memcpy(name, start, length);
    name[length] = '\0';
    memmove(walk->todo, start + length, strlen(start + length) + 1);
    return true;
}

static bool nothing_left(const struct walk *walk) { return walk->todo[strspn(walk->todo, "/")] == '\0'; }

static int follow_link(struct stub *stub, struct walk *walk, int link) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(link, "", target, sizeof target);
    if (length < 0)
        return failed(stub, "readlinkat");
    if (++walk->links > LINK_LIMIT) {
        errno = ELOOP;
        return failed(stub, "readlinkat");
    }
    size_t rest = strlen(walk->todo);
    if ((size_t)length + 1 + rest + 1 > sizeof walk->todo) {
        errno = ENAMETOOLONG;
        return failed(stub, "readlinkat");
    }
    memmove(walk->todo + length + 1, walk->todo, rest + 1);
    memcpy(walk->todo, target, (size_t)length);
    walk->todo[length] = '/';
    if (target[0] == '/') {
        walk->done[0] = '\0';
        return back_to(stub, walk);
    }
    return 0;
}

static int make(struct stub *stub, int parent, const char *name, enum want want, bool last) {
    if (last && want == WANT_FILE) {
        cleanup_close int file = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);
        if (file < 0 && errno != EEXIST)
            return failed(stub, "openat");
        return 0;
    }
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
        return failed(stub, "mkdirat");
    return 0;
}

/* Goes one name further, and makes it if it is missing. The kernel does not follow a link: its target is added to the
 * list. */
static int advance(struct stub *stub, struct walk *walk, const char *name, enum want want) {
    bool last = nothing_left(walk);
    int fd = openat(walk->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (make(stub, walk->fd, name, want, last) < 0)
            return -1;
        fd = openat(walk->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0)
        return failed(stub, "openat");
    struct stat status;
    if (fstat(fd, &status) < 0) {
        close_fd(&fd);
        return failed(stub, "fstat");
    }
    if (S_ISLNK(status.st_mode)) {
        int result = follow_link(stub, walk, fd);
        close_fd(&fd);
        return result;
    }
    size_t done = strlen(walk->done);
    if (done + 1 + strlen(name) + 1 > sizeof walk->done) {
        close_fd(&fd);
        errno = ENAMETOOLONG;
        return failed(stub, "openat");
    }
    snprintf(walk->done + done, sizeof walk->done - done, "/%s", name);
    close_fd(&walk->fd);
    walk->fd = fd;
    return 0;
}

static int make_and_open(struct stub *stub, const char *path, enum want want) {
    struct walk *walk = calloc(1, sizeof *walk);
    if (!walk)
        return failed(stub, "calloc");
    int result = -1;
    walk->fd = -1;
    if (strlen(path) >= sizeof walk->todo) {
        errno = ENAMETOOLONG;
        stub->call = "openat2";
        goto out;
    }
    strcpy(walk->todo, path);
    if (back_to(stub, walk) < 0)
        goto out;
    char name[NAME_MAX + 1];
    bool too_long;
    while (next_name(walk, name, &too_long)) {
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            char *slash = strrchr(walk->done, '/');
            if (slash)
                *slash = '\0';
            if (back_to(stub, walk) < 0)
                goto out;
            continue;
        }
        if (advance(stub, walk, name, want) < 0)
            goto out;
    }
    if (too_long) {
        errno = ENAMETOOLONG;
        stub->call = "openat";
        goto out;
    }
    result = walk->fd;
    walk->fd = -1;
out:
    close_fd(&walk->fd);
    free(walk);
    return result;
}

/* The last name of `path`, and what stands before it; false where that is no name of its own. */
static bool split(const char *path, char parent[PATH_MAX], char name[NAME_MAX + 1]) {
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    size_t size = length - start;
    if (size > NAME_MAX || start >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(name, path + start, size);
    name[size] = '\0';
    if (size == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        errno = EINVAL;
        return false;
    }
    memcpy(parent, start ? path : "/", start ? start : 1);
    parent[start ? start : 1] = '\0';
    return true;
}

/* Usually only the last name is missing. Returns -1 if more is, or if that name is a link: then the path is walked name
 * by name, which also finds the reason of an error. */
static int make_last(struct stub *stub, const char *path, enum want want) {
    char parent_path[PATH_MAX], name[NAME_MAX + 1];
    if (!split(path, parent_path, name))
        return -1;
    cleanup_close int parent = open_below(stub, parent_path, O_DIRECTORY);
    if (parent < 0 || make(stub, parent, name, want, true) < 0)
        return -1;
    int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd >= 0 && (fstat(fd, &status) < 0 || S_ISLNK(status.st_mode))) {
        close_fd(&fd);
        return -1;
    }
    return fd;
}

/* Returns a descriptor (O_PATH) of `path`. With WANT_DIRECTORY and WANT_FILE, it and the directories above are made if
 * missing; `made` says whether they were. */
int resolve_or_make(struct stub *stub, const char *path, enum want want, bool follow, bool *made) {
    int fd = open_below(stub, path, follow ? 0 : O_NOFOLLOW);
    *made = fd < 0 && errno == ENOENT && want != WANT_EXISTING;
    if (*made) {
        fd = make_last(stub, path, want);
        return fd < 0 ? make_and_open(stub, path, want) : fd;
    }
    if (fd < 0)
        return failed(stub, "openat2");
    return fd;
}

int resolve(struct stub *stub, const char *path, enum want want, bool follow) {
    bool made;
    return resolve_or_make(stub, path, want, follow, &made);
}

int resolve_without_links(struct stub *stub, const char *path) {
    uint64_t confined = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
    int fd = sys_openat2(stub->root, path, O_PATH | O_CLOEXEC, 0, confined);
    return fd < 0 ? failed(stub, "openat2") : fd;
}

/* Returns a descriptor of the directory of `path` (made if missing), and the last name of `path`. */
int resolve_parent(struct stub *stub, const char *path, char name[256]) {
    char parent[PATH_MAX];
    if (!split(path, parent, name))
        return failed(stub, "openat2");
    return resolve(stub, parent, WANT_DIRECTORY, true);
}
