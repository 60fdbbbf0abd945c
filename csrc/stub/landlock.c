/* Landlock: what the container's process may do with files, TCP ports and other processes (landlock(7)). */
#include "landlock.h"

#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stub.h"
#include "syscalls.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* The structures of <linux/landlock.h>, under names of our own because only newer headers have all of them. */
struct ruleset {
    uint64_t fs, net, scoped;
};

struct path_rule {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));

struct port_rule {
    uint64_t access, port;
};

enum { VERSION = 1, RULE_PATH_BENEATH = 1, RULE_NET_PORT = 2 };

/* The accesses to a file that is not a directory: execute, write, read, truncate, ioctl. */
enum { OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15 };

/* Each function returns its result, or -errno. */
static int answer(long result) { return result < 0 ? -errno : (int)result; }

/* Returns the version of the kernel's interface; 0 if the kernel has no Landlock or it is switched off. */
int pyr_landlock_abi(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, VERSION);
    return version < 0 ? 0 : (int)version;
}

/* Returns a descriptor of a new ruleset that forbids these accesses. */
static int landlock_ruleset(uint64_t fs, uint64_t net, uint64_t scoped) {
    struct ruleset ruleset = {.fs = fs, .net = net, .scoped = scoped};
    /* An older kernel accepts a longer structure if the fields that it does not have are zero. */
    return answer(syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0U));
}

/* Allows `access` to `path` and all below it. For a file, only the accesses to files count. */
static int landlock_path(int ruleset, const char *path, uint64_t access) {
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        access &= OF_FILES;
    if (!access)
        return 0;
    struct path_rule rule = {.access = access, .fd = fd};
    return answer(syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0U));
}

/* Allows `access` to the TCP port. */
static int landlock_port(int ruleset, uint64_t port, uint64_t access) {
    struct port_rule rule = {.access = access, .port = port};
    return answer(syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0U));
}

/* Applies the ruleset to this thread and its children. Needs no_new_privs or CAP_SYS_ADMIN. */
int landlock_restrict(int ruleset) { return answer(syscall(SYS_landlock_restrict_self, ruleset, 0U)); }

/* ---- Steps ---- */

/* The ruleset is made as the container's user, with the paths that the program will see. It is closed by execve. */
int do_landlock_ruleset(struct stub *stub, const struct step *step) {
    const uint64_t *value = step->value;
    int answer = landlock_ruleset(value[VALUE_HANDLED_FS], value[VALUE_HANDLED_NET], value[VALUE_SCOPED]);
    stub->ruleset = answer < 0 ? -1 : answer;
    return result_of(stub, "landlock_create_ruleset", answer);
}

int do_landlock_path(struct stub *stub, const struct step *step) {
    return result_of(stub, "landlock_add_rule",
                     landlock_path(stub->ruleset, stub_string(stub, step->path), step->value[VALUE_ALLOWED]));
}

int do_landlock_port(struct stub *stub, const struct step *step) {
    return result_of(stub, "landlock_add_rule",
                     landlock_port(stub->ruleset, step->value[VALUE_PORT], step->value[VALUE_ALLOWED]));
}

int do_landlock_restrict(struct stub *stub, const struct step *step) {
    (void)step;
    stub->restriction = stub->ruleset;
    return 0;
}
