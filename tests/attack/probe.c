/* The container's program: writes to a descriptor what it was given and what is kept from it, a line each.
 *
 *     probe FD [stay]
 *
 * Without a descriptor it does nothing, as a hook. With "stay" it waits for a signal afterwards. The last line is "end". Names of namespaces, ids of mounts and the like
 * are different each time; who compares two reports takes care of that (report.py).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static char text[1 << 17];
static size_t used;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text + used, sizeof text - used, format, arguments);
    va_end(arguments);
    if (size > 0 && used + (size_t)size < sizeof text)
        used += (size_t)size;
}

/* Every line of a file, after its name. */
static void file(const char *path) {
    FILE *stream = fopen(path, "re");
    char line[4096];
    if (!stream)
        say("%s: %s\n", path, strerror(errno));
    while (stream && fgets(line, sizeof line, stream))
        say("%s: %s", path, line);
    if (stream)
        fclose(stream);
}

static void answer(const char *what, long result) { say("%s: %s\n", what, result < 0 ? strerror(errno) : "done"); }

static void link_to(const char *path) {
    char target[4096];
    ssize_t size = readlink(path, target, sizeof target - 1);
    say("%s: %.*s\n", path, size < 0 ? 1 : (int)size, size < 0 ? "?" : target);
}

/* What it was given. */
static void say_what_it_has(void) {
    char path[64], directory[4096];
    extern char **environ;
    static const char *const files[] = {
        "/proc/self/status",         "/proc/self/limits",
        "/proc/self/cgroup",         "/proc/self/mountinfo",
        "/proc/self/oom_score_adj",  "/proc/self/uid_map",
        "/proc/self/gid_map",        "/proc/self/setgroups",
        "/proc/self/timens_offsets", "/proc/sys/net/ipv4/ping_group_range",
    };
    /* Of both versions of cgroups: a file that is not there is another line. */
    static const char *const limits[] = {
        "memory/memory.limit_in_bytes", "pids/pids.max", "cpu/cpu.cfs_quota_us", "devices/devices.list",
        "memory.max",                   "pids.max",      "cpu.max",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        file(files[i]);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", limits[i]);
        file(path);
    }
    static const char *const names[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        link_to(path);
    }
    for (int fd = 0; fd < 64; fd++) {
        struct stat status;
        if (fstat(fd, &status) == 0)
            say("fd %d: %s%s\n", fd, isatty(fd) ? "a terminal" : "no terminal",
                fcntl(fd, F_GETFD) & FD_CLOEXEC ? ", closed by execve" : "");
    }
    for (char **entry = environ; *entry; entry++)
        say("environment: %s\n", *entry);
    say("directory: %s\n", getcwd(directory, sizeof directory) ? directory : "?");
    struct utsname name;
    uname(&name);
    say("host name: %s, domain name: %s\n", name.nodename, name.domainname);
    say("leads a session: %d\n", getsid(0) == getpid());
    say("personality: %x\n", (unsigned)personality(0xffffffff));
    say("scheduler: %d\n", sched_getscheduler(0));
    /* KEYCTL_GET_KEYRING_ID of the session's, which is not to be made; KEYCTL_DESCRIBE. */
    char description[256] = "";
    long keyring = syscall(SYS_keyctl, 0, -3, 0);
    if (keyring < 0 || syscall(SYS_keyctl, 6, keyring, description, sizeof description) < 0)
        say("session keyring: %s\n", strerror(errno));
    else
        say("session keyring: %s\n", description);
}

/* What is kept from it: by the filter, masks, read-only paths, the rules for devices. */
static void say_what_it_may_not(void) {
    answer("mkdir", mkdir("/tmp/made", 0700));
    answer("sethostname", syscall(SYS_sethostname, "x", 1));
    answer("a new user namespace", syscall(SYS_unshare, 0x10000000));
    answer("write to /proc/sys", open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC));
    answer("write to the root", open("/made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    static const char *const masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"};
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        char byte[1];
        int fd = open(masked[i], O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? -1 : read(fd, byte, 1);
        say("%s: %s\n", masked[i], size < 0 ? strerror(errno) : size ? "can be read" : "empty");
    }
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 0;
    say_what_it_has();
    say_what_it_may_not();
    say("end\n");
    int fd = atoi(argv[1]);
    for (size_t done = 0; done < used;) {
        ssize_t size = write(fd, text + done, used - done);
        if (size < 0)
            return 1;
        done += (size_t)size;
    }
    while (argc > 2)
        pause();
    return 0;
}
