/* What tells the status of a container: its state file, its process, its freezers.
 *
 * `list` looks at each of them for each container. Here this costs little more than the system calls.
 */
#include "status.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>

#include "stub.h"

/* Reads the regular file `name` of `directory`, which may be another user's. Returns its size: if that is more than
 * `room`, nothing was read. Otherwise -errno; -ENOTSUP if it is not a regular file. */
int64_t pyr_read_file(int directory, const char *name, char *content, int64_t room) {
    /* A FIFO must not make this wait. */
    cleanup_close int fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOTSUP;
    if (status.st_size > room)
        return status.st_size;
    int64_t size = 0;
    while (size < status.st_size) {
        ssize_t more = read(fd, content + size, (size_t)(status.st_size - size));
        if (more < 0)
            return -errno;
        if (more == 0)
            break;
        size += more;
    }
    return size;
}

/* Reads the beginning of a file of the kernel as text. Returns its length or -errno. */
static ssize_t read_text(const char *path, char *text, size_t room) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, room - 1);
    if (length < 0)
        return -errno;
    text[length] = '\0';
    return length;
}

/* Returns 0, or -errno: -ESRCH if there is no process `pid`. */
int pyr_process(int pid, struct pyr_process *process) {
    enum { STATE = 3, FLAGS = 9, START_TIME = 22, PENDING = 31, WAIT_STATUS = 52 };
    enum { PF_SIGNALED = 0x400, KILL = 1U << (SIGKILL - 1) };
    char path[32], text[4096];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    ssize_t length = read_text(path, text, sizeof text);
    if (length < 0)
        return length == -ENOENT ? -ESRCH : (int)length;
    /* The command's name may itself contain ") "; the last one ends it. */
    char *field = strrchr(text, ')');
    if (field == NULL)
        return -ESRCH;
    *process = (struct pyr_process){0};
    for (int number = STATE; (field = strchr(field, ' ')) != NULL; number++) {
        field++;
        if (number == STATE) {
            process->has_ended = *field == 'Z' || *field == 'X';
            process->sleeps = *field == 'S';
        } else if (number == FLAGS)
            process->flags = (uint32_t)strtoul(field, NULL, 10);
        else if (number == START_TIME)
            process->start_time = (int64_t)strtoull(field, NULL, 10);
        /* The kernel adds SIGKILL to the pending signals of each thread when it ends a process by any signal. */
        else if (number == PENDING && strtoul(field, NULL, 10) & KILL)
            process->flags |= PF_SIGNALED;
        else if (number == WAIT_STATUS)
            process->wait_status = (int32_t)strtol(field, NULL, 10);
    }
    return 0;
}

/* Returns the flags of the process that had `pid` and `start_time`, and whether it sleeps; -ESRCH if it has ended, another -errno if the kernel
 * does not tell. */
int64_t pyr_process_flags(int pid, int64_t start_time) {
    struct pyr_process process;
    int error = pyr_process(pid, &process);
    if (error < 0)
        return error;
    if (process.has_ended || process.start_time != start_time)
        return -ESRCH;
    return (int64_t)process.flags | (int64_t)process.sleeps << PYR_SLEEPS_BIT;
}

static int look(const char *directory, const char *file, const char *thawed) {
    char path[PATH_MAX], text[16];
    if (directory[0] == '\0' || snprintf(path, sizeof path, "%s/%s", directory, file) >= (int)sizeof path)
        return 0;
    int found = 0;
    if (read_text(path, text, sizeof text) >= 0) {
        text[strcspn(text, "\n")] = '\0';
        found = strcmp(text, thawed) != 0 ? PYR_FROZEN : 0;
    }
    /* A directory has a link for each one below, besides its name and its own ".". */
    struct stat status;
    return stat(directory, &status) == 0 && status.st_nlink > 2 ? found | PYR_NESTED : found;
}

/* Tells whether freezing was requested for one of two groups of a container, and whether one has groups below. Either
 * may be "": the group in the unified hierarchy, which has no freezer before Linux 5.2, and that in v1's. In a group
 * that was removed meanwhile there is nothing. */
int pyr_freezers(const char *unified, const char *freezer) {
    return look(unified, "cgroup.freeze", "0") | look(freezer, "freezer.state", "THAWED");
}
