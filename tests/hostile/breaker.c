/* Tries to change the file PATH, a link like /proc/PID/exe, in every way that a container with all capabilities has:
 * `breaker PATH PLACE`, where PLACE is an empty file to mount on. Prints "changed by WAY" for each that works. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsconfig 431
#define SYS_fspick 433
#endif
enum { RDONLY = 1, CLONE = 1, FROM_EMPTY = 4, PICK_EMPTY = 8, SET_FLAG = 0, RECONFIGURE = 7 };
struct attributes {
    unsigned long long set, clear, propagation, user_namespace;
};

static void changed(const char *before, const char *way) {
    printf("changed by %s%s\n", before, way);
    fflush(stdout);
}

/* What needs nothing but a path. */
static void write_to(const char *path, const char *before) {
    static const struct {
        const char *name;
        int flags;
    } ways[] = {{"open to write", O_WRONLY},
                {"open to read and write", O_RDWR},
                {"open to append", O_WRONLY | O_APPEND},
                {"open to truncate", O_RDONLY | O_TRUNC}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        int fd = open(path, ways[i].flags);
        if (fd >= 0 && ((ways[i].flags & O_ACCMODE) == O_RDONLY || write(fd, "#", 1) == 1))
            changed(before, ways[i].name);
        close(fd);
    }
    if (truncate(path, 1) == 0)
        changed(before, "truncate");
    if (chmod(path, 0777) == 0)
        changed(before, "chmod");
    if (chown(path, 1, 1) == 0)
        changed(before, "chown");
    if (utimes(path, NULL) == 0)
        changed(before, "utimes");
    int fd = open(path, O_RDONLY), flags = FS_NODUMP_FL;
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0)
        changed(before, "FS_IOC_SETFLAGS");
    if (fallocate(fd, 0, 0, 1) == 0)
        changed(before, "fallocate");
    char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED && mprotect(shared, 4096, PROT_READ | PROT_WRITE) == 0)
        changed(before, "a shared mapping");
    close(fd);
}

/* Make the superblock behind a descriptor writable. */
static void reconfigure(int fd, const char *path, const char *before) {
    int context = syscall(SYS_fspick, fd, "", PICK_EMPTY);
    if (context >= 0 && syscall(SYS_fsconfig, context, SET_FLAG, "rw", NULL, 0) == 0 &&
        syscall(SYS_fsconfig, context, RECONFIGURE, NULL, NULL, 0) == 0)
        write_to(path, before);
    close(context);
}

int main(int argc, char **argv) {
    struct attributes writable = {.clear = RDONLY};
    char path[64];
    if (argc != 3)
        return 2;
    write_to(argv[1], "");

    int fd = open(argv[1], O_PATH);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &writable, sizeof writable) == 0)
        write_to(path, "mount_setattr of it, ");
    reconfigure(fd, path, "fspick of it, ");

    int tree = syscall(SYS_open_tree, fd, "", CLONE | AT_EMPTY_PATH);
    if (tree >= 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", tree);
        syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &writable, sizeof writable);
        write_to(path, "open_tree and mount_setattr, ");
        reconfigure(tree, path, "open_tree and fspick, ");
        if (syscall(SYS_move_mount, tree, "", AT_FDCWD, argv[2], FROM_EMPTY) == 0) {
            write_to(argv[2], "move_mount, ");
            umount2(argv[2], MNT_DETACH);
        }
    }
    if (mount(argv[1], argv[2], NULL, MS_BIND, NULL) == 0) {
        mount(NULL, argv[2], NULL, MS_REMOUNT | MS_BIND, NULL);
        write_to(argv[2], "a bind mount, ");
        mount(NULL, argv[2], NULL, MS_REMOUNT, NULL);
        write_to(argv[2], "a remount, ");
    }
    puts("done");
    return 0;
}
