/* --no-pivot: unmounts what is below the old root, before the container begins.
 *
 * After pivot_root(2) and umount2(2), nothing of the host is left in the mount namespace. If the root cannot be
 * pivoted, the container's root is moved over it, and the host's mounts stay below. Paths do not reach them, but the
 * kernel does: before it lets a user namespace mount a procfs (or sysfs), it looks for one without masks in the whole
 * mount namespace (mount_too_revealing in fs/namespace.c).
 */
#include <stdlib.h>

#include "stub.h"
#include "syscalls.h"

/* One line of mountinfo (proc_pid_mountinfo(5)). */
struct mounted {
    uint64_t id;
    uint64_t parent;
    const char *root;      /* which directory of its filesystem it shows */
    const char *path;      /* where, as seen from the root of this process */
    const char *fstype;
};

struct table {
    char *text;
    struct mounted *mounts;
    size_t count;
};

static void free_table(struct table *table) {
    free(table->text);
    free(table->mounts);
}

static char *read_all(struct stub *stub) {
    cleanup_close int file = openat(stub->proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        failed(stub, "openat(mountinfo)");
        return NULL;
    }
    size_t size = 1 << 16, used = 0;
    char *text = malloc(size);
    while (text) {
        ssize_t got = read(file, text + used, size - used - 1);
        if (got < 0) {
            failed(stub, "read(mountinfo)");
            free(text);
            return NULL;
        }
        used += (size_t)got;
        text[used] = '\0';
        if (got == 0)
            return text;
        if (used + 1 < size)
            continue;
        size *= 2;
        char *larger = realloc(text, size);
        if (!larger)
            free(text);
        text = larger;
    }
    failed(stub, "malloc");
    return NULL;
}

/* Decodes "\040" and so on, which stand for spaces, tabs, newlines and backslashes in a path. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue */
static bool parse(char *line, struct mounted *mount) {
    char *fields[5] = {0}, *rest = line;
    for (int i = 0; i < 5; i++)
        fields[i] = strsep(&rest, " ");
    char *tail = rest ? strstr(rest, " - ") : NULL;
    if (!tail)
        return false;
    tail += 3;
    unescape(fields[3]);
    unescape(fields[4]);
    *mount = (struct mounted){
        .id = strtoull(fields[0], NULL, 10),
        .parent = strtoull(fields[1], NULL, 10),
        .root = fields[3],
        .path = fields[4],
        .fstype = strsep(&tail, " "),
    };
    return true;
}

static int read_table(struct stub *stub, struct table *table) {
    *table = (struct table){.text = read_all(stub)};
    if (!table->text)
        return -1;
    size_t lines = 0;
    for (const char *at = table->text; *at; at++)
        lines += *at == '\n';
    table->mounts = calloc(lines + 1, sizeof *table->mounts);
    if (!table->mounts)
        return failed(stub, "calloc");
    char *rest = table->text;
    for (char *line = strsep(&rest, "\n"); line && *line; line = strsep(&rest, "\n"))
        table->count += parse(line, &table->mounts[table->count]);
    return 0;
}

/* Tells whether `mount` belongs to the container: it is the new root, or below it. */
static bool is_the_containers(const struct stub *stub, const struct table *table, const struct mounted *mount) {
    for (size_t depth = 0; depth <= table->count; depth++) {
        if (mount->id == stub->root_mount)
            return true;
        const struct mounted *parent = NULL;
        for (size_t i = 0; i < table->count && !parent; i++)
            if (table->mounts[i].id == mount->parent)
                parent = &table->mounts[i];
        if (!parent || parent == mount)
            return false;
        mount = parent;
    }
    return false;
}

/* Opens the place of a mount below the old root `top`. `id` becomes the ID of the mount that hides it, if one does. */
static int open_mount(struct stub *stub, int top, const struct mounted *one, uint64_t *id) {
    const char *path = one->path + strspn(one->path, "/");
    int fd = sys_openat2(top, *path ? path : ".", O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (fd >= 0 && mount_id(stub, fd, id) == 0)
        return fd;
    close_fd(&fd);
    return -1;
}

/* Detaches the mounts on the old root, each with all mounts below; returns how many, or -1. */
static int detach(struct stub *stub, int top, uint64_t left, const struct table *table) {
    int detached = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct mounted *one = &table->mounts[i];
        if (one->parent != left || one->id == left || one->id == stub->root_mount)
            continue;
        uint64_t id;
        cleanup_close int fd = open_mount(stub, top, one, &id);
        if (fd < 0 || id == left || id == stub->root_mount)
            continue; /* what hides it goes first */
        if (umount2(fd_path(fd).text, MNT_DETACH) == 0)
            detached++;
        else if (errno != EINVAL) /* locked, for it came with the others into this user namespace; or no mount's root */
            return failed(stub, "umount2");
    }
    return detached;
}

static bool is_covered(const struct table *table, const struct mounted *one) {
    for (size_t i = 0; i < table->count; i++)
        if (table->mounts[i].parent == one->id && strcmp(table->mounts[i].path, one->path) == 0)
            return true;
    return false;
}

/* Covers each procfs and sysfs that could not be detached; a part of one does not allow a new mount. Returns 0, -1, or
 * 1 if one cannot be reached. */
static int cover(struct stub *stub, int top, const struct table *table) {
    for (size_t i = 0; i < table->count; i++) {
        const struct mounted *one = &table->mounts[i];
        bool revealing = strcmp(one->fstype, "proc") == 0 || strcmp(one->fstype, "sysfs") == 0;
        if (!revealing || strcmp(one->root, "/") != 0 || is_the_containers(stub, table, one) ||
            is_covered(table, one))
            continue;
        uint64_t id;
        cleanup_close int fd = open_mount(stub, top, one, &id);
        if (fd < 0 || id != one->id) {
            snprintf(stub->text, sizeof stub->text, "the host's %s at %.200s cannot be reached to hide it", one->fstype,
                     one->path);
            return 1;
        }
        unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        if (mount("tmpfs", fd_path(fd).text, "tmpfs", flags, "nr_blocks=1,nr_inodes=1") < 0)
            return failed(stub, "mount");
    }
    return 0;
}

/* Unmounts what is on the old root `top`, except the container's own mounts. It repeats this, because a mount that
 * hides another one must go first. Returns 1, with a message in stub->text, if a procfs or sysfs stays that no path
 * reaches because a locked mount hides it. */
int leave_root(struct stub *stub, int top) {
    uint64_t left;
    if (mount_id(stub, top, &left) < 0)
        return -1;
    /* fd_path() leads there, because / has lost its procfs. */
    if (fchdir(stub->proc) < 0)
        return failed(stub, "fchdir");
    for (;;) {
        struct table table;
        int done = read_table(stub, &table);
        if (done == 0)
            done = detach(stub, top, left, &table);
        bool last = done == 0;
        /* Only now: these covers could be detached again. Each is at another place, so one pass is enough. */
        if (last)
            done = cover(stub, top, &table);
        free_table(&table);
        if (last || done < 0)
            return done;
    }
}
