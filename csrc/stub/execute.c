/* The program: found in PATH, checked at create, executed at start (config.md#process).
 *
 * Nothing here allocates memory: see process.c.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "execute.h"
#include "python_calls.h"
#include "seccomp_filter.h"
#include "signals.h"
#include "sockets.h"
#include "stub.h"
#include "syscalls.h"

enum {
    ROOM = 64,               /* descriptors that init needs until execve, besides the caller's */
    USERS_LIMIT = 1 << 20,   /* bytes that are read of the list of users */
    FIELD_UID = 2, FIELD_HOME = 5 /* passwd(5): name, password, uid, gid, comment, home, shell */
};

static int failed_at(struct stub *stub, enum list list, uint32_t index) {
    stub->failed_list = list;
    stub->failed_index = (int32_t)index;
    return -1;
}

/* ---- Limits ---- */

/* Tells whether a limit must wait until execve, because before it the process needs more descriptors. */
static bool waits(uint64_t resource, uint64_t soft, uint32_t preserve) {
    return resource == RLIMIT_NOFILE && soft < ROOM + (uint64_t)preserve;
}

static int set_limit(int pid, int resource, uint64_t soft, uint64_t hard) {
    struct rlimit64 limit = {.rlim_cur = soft, .rlim_max = hard};
    return prlimit64(pid, (enum __rlimit_resource)resource, &limit, NULL) < 0 ? -errno : 0;
}

static uint64_t plus(uint64_t limit, uint32_t spare) {
    return limit > RLIM64_INFINITY - spare ? RLIM64_INFINITY : limit + spare;
}

/* Sets a limit of process `pid`, 0 for this one, unless it must wait until execve. RLIMIT_NPROC is higher by `spare`: the
 * processes of the same user that are the runtime's. Returns 0 or -errno. */
/* Upholds config.md#posix-process/rlimit-soft, config.md#posix-process/rlimit-hard. */
int pyr_limit(int pid, int resource, uint64_t soft, uint64_t hard, uint32_t preserve, uint32_t spare) {
    if (resource == RLIMIT_NPROC)
        return set_limit(pid, resource, plus(soft, spare), plus(hard, spare));
    if (!waits((uint64_t)resource, soft, preserve))
        return set_limit(pid, resource, soft, hard);
    /* The hard limit may have to be raised, and the caller may have the privilege for that only now. */
    return hard >= ROOM + (uint64_t)preserve ? set_limit(pid, resource, hard, hard) : 0;
}

/* Sets the limits of this process that need no privilege, writes the numbers of the others to `left`, and returns their
 * count. Every process may lower its own limits; to lower those of a process of another user, even root needs
 * CAP_SYS_RESOURCE. */
int pyr_limit_own(const struct execution *execution, uint32_t spare, uint8_t left[]) {
    int count = 0;
    for (uint32_t i = 0; i < execution->limit_count; i++) {
        const struct step *step = &execution->limits[i];
        const uint64_t *value = step->value;
        if (step->op != OP_PRLIMIT || pyr_limit(0, (int)value[VALUE_RESOURCE], value[VALUE_SOFT], value[VALUE_HARD],
                                                execution->preserve, spare) < 0)
            left[count++] = (uint8_t)i;
    }
    return count;
}

/* The limit of descriptors may be lowered once those of the host are closed; raising it needs the first privileges. */
static int raise_descriptors(uint64_t hard) {
    struct rlimit64 now;
    if (prlimit64(0, RLIMIT_NOFILE, NULL, &now) < 0)
        return -errno;
    return now.rlim_max >= hard ? 0 : set_limit(0, RLIMIT_NOFILE, now.rlim_cur, hard);
}

/* Sets the limits and the OOM score of the intermediate process, from which the process of exec inherits them: first all
 * but the limit of descriptors, with the runtime's privileges, and that one when the host's descriptors are `closed`.
 * RLIMIT_NPROC leaves room for both processes until execve. Returns 0, or -1 with the place in `stub`. */
int limit_ahead(const struct execution *execution, struct stub *stub, bool closed) {
    for (uint32_t i = 0; i < execution->limit_count; i++) {
        const struct step *step = &execution->limits[i];
        const uint64_t *value = step->value;
        int answer = 0;
        if (step->op == OP_PRLIMIT && value[VALUE_RESOURCE] == RLIMIT_NOFILE && !closed)
            answer = raise_descriptors(value[VALUE_HARD]);
        else if (step->op == OP_PRLIMIT && (value[VALUE_RESOURCE] == RLIMIT_NOFILE) == closed)
            answer = pyr_limit(0, (int)value[VALUE_RESOURCE], value[VALUE_SOFT], value[VALUE_HARD],
                               execution->preserve, SPARE_PROCESSES);
        else if (step->op == OP_OOM_SCORE_ADJ && !closed && do_oom_score_adj(stub, step) < 0)
            return failed_at(stub, LIST_LIMITS, i);
        if (answer < 0) {
            errno = -answer;
            stub->call = "prlimit";
            return failed_at(stub, LIST_LIMITS, i);
        }
    }
    return 0;
}

/* Sets the limits that had to wait until execve, and RLIMIT_NPROC, which may have been higher until now. */
static int lower_limits(const struct execution *execution, struct stub *stub) {
    for (uint32_t i = 0; i < execution->limit_count; i++) {
        const struct step *step = &execution->limits[i];
        if (step->op == OP_PRLIMIT &&
            (step->value[VALUE_RESOURCE] == RLIMIT_NPROC ||
             waits(step->value[VALUE_RESOURCE], step->value[VALUE_SOFT], execution->preserve)) &&
            do_prlimit(stub, step) < 0)
            return failed_at(stub, LIST_LIMITS, i);
    }
    return 0;
}

/* ---- The program ---- */

/* Returns the PATH of the program. If the environment has several, the last one counts, as with runc. */
static const char *search_path(char *const *env) {
    const char *found = "";
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            found = *env + 5;
    return found;
}

/* Returns 0 if the user of this process may execute the file `path`, otherwise the errno with the reason. */
static int why_not_executable(const char *path) {
    struct stat status;
    if (stat(path, &status) < 0)
        return errno;
    if (S_ISDIR(status.st_mode))
        return EISDIR;
    if (!S_ISREG(status.st_mode))
        return EACCES;
    /* execve(2) checks the effective capabilities; access(2) ignores them for users other than root. */
    if (syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
        return 0;
    return errno == ENOSYS && access(path, X_OK) == 0 ? 0 : EACCES;
}

static int not_executable(struct stub *stub, int error, const char *text) {
    snprintf(stub->text, sizeof stub->text, "%s", text);
    errno = error;
    stub->call = "";
    return failed_at(stub, LIST_EXECUTE, 0);
}

/* Writes the reason why access(2) returns EACCES for `path` into `text`, of `size` bytes; "" if it finds none. */
static void why_no_access(const char *path, char *text, size_t size) {
    struct stat status;
    struct statvfs filesystem;
    text[0] = '\0';
    if (stat(path, &status) < 0)
        return;
    if (S_ISDIR(status.st_mode))
        snprintf(text, size, "it is a directory");
    else if (!S_ISREG(status.st_mode))
        snprintf(text, size, "it is not a regular file");
    else if (statvfs(path, &filesystem) == 0 && filesystem.f_flag & ST_NOEXEC)
        snprintf(text, size, "its mount has the option noexec");
    else if (!(status.st_mode & 0111))
        snprintf(text, size, "its mode %04o lets nobody execute it", status.st_mode & 07777);
    else
        snprintf(text, size, "its mode %04o and owner %u:%u do not let user %u:%u execute it", status.st_mode & 07777,
                 status.st_uid, status.st_gid, getuid(), getgid());
}

/* Writes the path of the program to execution->path: its name if that has a slash, otherwise the first executable file
 * in PATH. If PATH has none, it fails with EACCES if a candidate may not be executed, otherwise with ENOENT. */
static int find(struct execution *execution, struct stub *stub) {
    const char *program = execution->argv[0];
    size_t size = sizeof execution->path;
    if (strchr(program, '/')) {
        int error = strlen(program) < size ? why_not_executable(program) : ENAMETOOLONG;
        if (error == EISDIR) /* as execve(2) does */
            error = EACCES;
        char reason[128] = "";
        if (error == EACCES)
            why_no_access(program, reason, sizeof reason);
        if (error)
            return not_executable(stub, error, reason);
        snprintf(execution->path, size, "%s", program);
        return 0;
    }
    static const char none[] = "executable file not found in $PATH";
    int worst = ENOENT;
    char words[sizeof stub->text] = "";
    for (const char *directory = search_path(execution->env);;) {
        size_t length = strcspn(directory, ":");
        int wrote = snprintf(execution->path, size, "%.*s/%s", (int)length, directory, program);
        int error = (size_t)wrote < size ? why_not_executable(execution->path) : ENAMETOOLONG;
        if (!length) /* execvp(3) takes it for the working directory; runc and crun ignore it */
            error = ENOENT;
        if (!error)
            return 0;
        if (error == EACCES && worst != EACCES) {
            char reason[128];
            why_no_access(execution->path, reason, sizeof reason);
            snprintf(words, sizeof words, "%s: %.300s: %s", none, execution->path, reason);
            worst = error;
        }
        if (!directory[length])
            return not_executable(stub, worst, *words ? words : none);
        directory += length + 1;
    }
}

/* ---- HOME ---- */

/* The state of the parser of /etc/passwd. */
struct reading {
    char uid[16];             /* of the user that is searched */
    int field;                /* number of the field in this line */
    size_t place;             /* index in that field */
    bool other;               /* the line is of another user */
    char *home;
    size_t size;
};

/* Parses the next byte; returns true at the end of the user's line. */
static bool read_byte(struct reading *reading, char byte) {
    if (byte == '\n') {
        bool found = !reading->other && reading->field >= FIELD_HOME;
        if (!found) {
            reading->field = 0;
            reading->place = 0;
            reading->other = false;
        }
        return found;
    }
    if (byte == ':') {
        if (reading->field == FIELD_UID && reading->uid[reading->place] != '\0')
            reading->other = true;
        reading->field++;
        reading->place = 0;
    } else if (reading->field == FIELD_UID && !reading->other) {
        reading->other = reading->place >= sizeof reading->uid || reading->uid[reading->place] != byte;
        reading->place++;
    } else if (reading->field == FIELD_HOME && !reading->other) {
        if (reading->place + 1 < reading->size)
            reading->home[reading->place++] = byte;
    }
    if (reading->field == FIELD_HOME && reading->place < reading->size)
        reading->home[reading->place] = '\0';
    return false;
}

/* Writes the home directory of this user from the container's /etc/passwd. It is "/" if the user is not there, or if
 * the file cannot be read or is not a regular file, so that reading it could block. */
static void find_home(char *home, size_t size) {
    struct reading reading = {.home = home, .size = size};
    struct stat status;
    snprintf(reading.uid, sizeof reading.uid, "%u", (unsigned)getuid());
    home[0] = '\0';
    if (stat("/etc/passwd", &status) == 0 && S_ISREG(status.st_mode)) {
        cleanup_close int users = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (users >= 0 && fstat(users, &status) == 0 && S_ISREG(status.st_mode)) {
            off_t left = status.st_size < USERS_LIMIT ? status.st_size : USERS_LIMIT;
            char chunk[4096];
            while (left > 0) {
                ssize_t got = read(users, chunk, (off_t)sizeof chunk < left ? sizeof chunk : (size_t)left);
                if (got < 0 && errno == EINTR)
                    continue;
                if (got <= 0)
                    break;
                for (ssize_t i = 0; i < got; i++)
                    if (read_byte(&reading, chunk[i]))
                        return;
                left -= got;
            }
            if (read_byte(&reading, '\n')) /* the last line may have no newline */
                return;
        }
    }
    snprintf(home, size, "/");
}

/* Adds HOME if the environment of the process has none, as every caller of runc expects (no clause). The spec does not
 * mention it (config.md#process); Docker, containerd and Kubernetes leave it to the runtime. To be called before Landlock
 * may forbid to read the container's list of users. */
static void add_home(struct execution *execution) {
    static const char name[] = "HOME=";
    const char *last = NULL;
    for (char **entry = execution->env; *entry; entry++)
        if (strncmp(*entry, name, sizeof name - 1) == 0)
            last = *entry;
    if (last && last[sizeof name - 1])
        return;
    char **kept = execution->env;
    for (char **entry = execution->env; *entry; entry++)
        if (strncmp(*entry, name, sizeof name - 1) != 0)
            *kept++ = *entry;
    memcpy(execution->home, name, sizeof name);
    find_home(execution->home + sizeof name - 1, sizeof execution->home - sizeof name + 1);
    *kept++ = execution->home;
    *kept = NULL;
}

/* ---- From create to execve ---- */

/* Checks at create that the program can be executed, as runc does, and completes its environment. To be called inside
 * the container, as its user. */
int pyr_prepare(struct execution *execution, struct stub *stub) {
    if (find(execution, stub) < 0)
        return -1;
    add_home(execution);
    return 0;
}

/* Leaves the caller's descriptors open for the program, and marks all others close-on-exec. */
static int choose_descriptors(uint32_t preserve) {
    int answer = pyr_close_range(3 + preserve, ~0U, 1);
    for (uint32_t fd = 3; answer == 0 && fd < 3 + preserve; fd++)
        if (fcntl((int)fd, F_SETFD, 0) < 0) /* hooks did not get them */
            answer = -errno;
    return answer;
}

/* Loads the filter and executes the program. Returns only if that fails: -1, with errno and the place in `stub`.
 *
 * `connection` is closed by execve, so the process at its other end reads MESSAGE_EXECUTES and then end-of-file as
 * success. Under the filter this process calls only execve, and before it sendmsg and close if there is an agent: all
 * else is done before. Only the report of a failure needs more calls. If the filter forbids them, the failure looks
 * like the end of the program itself.
 */
/* Upholds runtime.md#lifecycle/program-run. */
int pyr_execute(struct execution *execution, struct stub *stub, int connection) {
    static const char executes = MESSAGE_EXECUTES;
    stub->text[0] = '\0';
    if (lower_limits(execution, stub) < 0 || find(execution, stub) < 0)
        return -1;
    stub->call = "close_range";
    int answer = choose_descriptors(execution->preserve);
    if (answer == 0) {
        stub->call = "rt_sigprocmask";
        answer = reset_signals();
    }
    if (answer == 0) {
        stub->call = "sendto";
        answer = pyr_send(connection, &executes, sizeof executes);
    }
    if (answer < 0) {
        errno = -answer;
        return failed_at(stub, LIST_EXECUTE, 0);
    }
    struct filter *filter = execution->filter;
    filter->ruleset = stub->restriction;
    if (filter->length > 0 || filter->ruleset >= 0) {
        answer = pyr_filter(filter);
        if (answer < 0) {
            errno = -answer;
            stub->call = filter->call;
            return failed_at(stub, LIST_FILTER, 0);
        }
    }
    execve(execution->path, execution->argv, execution->env);
    snprintf(stub->text, sizeof stub->text, "%.*s", (int)sizeof stub->text - 1, execution->path);
    stub->call = "execve";
    return failed_at(stub, LIST_EXECUTE, 0);
}

/* Reads the beginning of the program that execve(2) has refused, for the error message, into execution->home: HOME is
 * not needed any more. To be called after the failure has been reported: the filter may end this process for
 * these calls. Returns the number of bytes. */
int pyr_program_head(struct execution *execution) {
    cleanup_close int program = open(execution->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t got = program < 0 ? 0 : pread(program, execution->home, sizeof execution->home, 0);
    return got > 0 ? (int)got : 0;
}
