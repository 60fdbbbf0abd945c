/* The first process of a sandbox: starts the programs that its caller asks for, and reaps every process.
 *
 * One file: it is a program of its own, which shares nothing with the stub.
 *
 * It is executed inside the container, statically linked, with the same user, filter and Landlock as the programs. It
 * has what they must not touch (the socket to the caller), so it is not dumpable: no program of its user can trace it
 * or look at its descriptors, and as the init of a pid namespace it gets no signal from inside. When the caller closes
 * the socket or is gone, this process ends, and with it the kernel ends every process of the container.
 *
 * A request is one message of descriptor 3 (SOCK_SEQPACKET): struct request, and descriptors. What is long comes in a
 * file (memfd). Answers go to a socket that comes with the request:
 *
 *   SPAWN  answer, file, stdin, stdout, stderr    -> STARTED with errno; later EXITED
 *   OPEN   answer, file                           -> OPENED with errno, and the descriptor
 *   KILL                                          -> nothing
 *   WATCH  pidfd                                  -> nothing; this process ends with that one, too
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dirent.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

enum { CALLER = 3, MOST_PROGRAMS = 4096, MOST_DESCRIPTORS = 8 };
enum kind { SPAWN = 1, OPEN, KILL, WATCH };
enum answer_kind { STARTED = 1, EXITED, OPENED };
enum { LAST = 1, PARENTS = 2 }; /* flags: the container ends with this program; make missing parents */

/* pyruntime/sandbox/container.py packs and unpacks these. */
struct request {
    uint32_t kind, flags;
    int32_t pid, number;     /* of KILL: the program, the signal; of OPEN: number is open(2)'s flags */
    uint32_t mode, words;    /* of OPEN: open(2)'s mode; of SPAWN: how many words are arguments */
};

struct answer {
    uint32_t kind;
    int32_t pid, status;     /* status: an errno, or what wait4(2) says */
    uint32_t reserved;
    uint64_t user, system;   /* microseconds */
    uint64_t peak;           /* bytes */
};

struct program {
    pid_t pid;
    int answer;
    bool last;
};

static struct program programs[MOST_PROGRAMS];
static int workspace = -1;
static int watched_process = -1;

static void send_answer(int fd, const struct answer *answer, int passed) {
    struct iovec vector = {.iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof *answer};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } room = {0};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (passed >= 0) {
        message.msg_control = &room;
        message.msg_controllen = sizeof room;
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(part), &passed, sizeof passed);
    }
    sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The words of a request's file, each ended by NUL; a last word that is empty. NULL where there is no memory. */
static char *read_file(int fd, size_t *size) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return NULL;
    *size = (size_t)status.st_size;
    char *text = malloc(*size + 1);
    size_t have = 0;
    while (text && have < *size) {
        ssize_t got = pread(fd, text + have, *size - have, (off_t)have);
        if (got <= 0 && errno != EINTR)
            break;
        have += got > 0 ? (size_t)got : 0;
    }
    if (text)
        text[*size = have] = '\0';
    return text;
}

static void execute(char *const argv[], char *const env[]) {
    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, env);
        return;
    }
    const char *path = "/usr/local/bin:/usr/bin:/bin";
    for (char *const *entry = env; *entry; entry++)
        if (strncmp(*entry, "PATH=", 5) == 0)
            path = *entry + 5;
    int best = ENOENT;
    char file[4096];
    while (path) {
        const char *end = strchrnul(path, ':');
        int length = snprintf(file, sizeof file, "%.*s/%s", (int)(end - path), end == path ? "." : path, argv[0]);
        if (length > 0 && length < (int)sizeof file) {
            execve(file, argv, env);
            if (errno == EACCES)
                best = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR) {
                best = errno;
                break;
            }
        }
        path = *end ? end + 1 : NULL;
    }
    errno = best;
}

/* What the child of vfork(2) does; it shares this process's memory until it has executed the program. */
static void become(const char *directory, char *const argv[], char *const env[], const int streams[3],
                   volatile int *error) {
    sigset_t none;
    sigemptyset(&none);
    setsid();
    for (int stream = 0; stream < 3; stream++)
        dup2(streams[stream], stream);
    if (chdir(directory) == 0) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        execute(argv, env);
    }
    *error = errno;
    _exit(127);
}

/* Starts a program; its process id, or 0 and an errno. */
static __attribute__((noinline)) pid_t start(const char *directory, char *const argv[], char *const env[],
                                             const int streams[3], volatile int *error) {
    *error = 0;
    pid_t pid = vfork();
    if (pid == 0)
        become(directory, argv, env, streams, error);
    if (pid < 0)
        *error = errno;
    return *error ? 0 : pid;
}

static void spawn(const struct request *request, int fds[]) {
    struct answer answer = {.kind = STARTED, .status = ENOMEM};
    struct program *free_place = NULL;
    for (int i = 0; i < MOST_PROGRAMS && !free_place; i++)
        if (programs[i].pid == 0)
            free_place = &programs[i];
    size_t size = 0;
    char *text = read_file(fds[1], &size), *end = text ? text + size : NULL;
    /* Directory, arguments, environment. */
    size_t words = 0;
    for (char *at = text; at < end; at += strlen(at) + 1)
        words++;
    char **vector = calloc(words + 2, sizeof *vector);
    if (free_place && vector && request->words >= 1 && request->words < words) {
        size_t index = 0;
        for (char *at = text; at < end; at += strlen(at) + 1) {
            if (index == 1 + request->words)
                vector[index++] = NULL;
            vector[index++] = at;
        }
        char **argv = vector + 1;
        char **env = words > 1 + request->words ? argv + request->words + 1 : argv + request->words;
        volatile int error;
        answer.pid = start(vector[0], argv, env, fds + 2, &error);
        answer.status = error;
    }
    send_answer(fds[0], &answer, -1);
    if (answer.pid > 0) {
        *free_place = (struct program){.pid = answer.pid, .answer = fds[0], .last = request->flags & LAST};
        fds[0] = -1;
    }
    free(vector);
    free(text);
    if (request->flags & LAST && answer.status)
        _exit(0);
}

static int openat2_beneath(int directory, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how = {
        .flags = flags | O_CLOEXEC, .mode = mode, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

static void make_parents(char *path) {
    for (char *at = strchr(path, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        char *name = strrchr(path, '/');
        if (name) {
            *name = '\0';
            int directory = openat2_beneath(workspace, path, O_PATH | O_DIRECTORY, 0);
            *name = '/';
            if (directory >= 0) {
                mkdirat(directory, name + 1, 0777);
                close(directory);
            }
        } else if (*path && strcmp(path, ".") != 0 && strcmp(path, "..") != 0)
            mkdirat(workspace, path, 0777);
        *at = '/';
    }
}

/* Nothing here waits: no FIFO is waited for (O_NONBLOCK), nor a lease that a program has taken on the file. */
static void open_file(const struct request *request, int fds[]) {
    struct answer answer = {.kind = OPENED, .status = ENOMEM};
    size_t size = 0;
    char *path = read_file(fds[1], &size);
    int fd = -1;
    if (path) {
        if (request->flags & PARENTS)
            make_parents(path);
        fd = openat2_beneath(workspace, path, (uint32_t)request->number | O_NONBLOCK | O_NOCTTY,
                             request->number & O_CREAT ? request->mode : 0);
        answer.status = fd < 0 ? errno : 0;
    }
    send_answer(fds[0], &answer, fd);
    if (fd >= 0)
        close(fd);
    free(path);
}

/* The parent and the session of a process; false when it is gone. */
static bool look(pid_t pid, pid_t *parent, pid_t *session) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    /* The name may hold anything, its closing parenthesis is the last one. */
    char *rest = strrchr(text, ')');
    return rest && sscanf(rest + 1, " %*c %d %*d %d", parent, session) == 2;
}

/* The processes of a program: itself, its session, and what descends from them as far as can be seen. */
struct tree {
    pid_t pids[MOST_PROGRAMS];
    int count;
};

static struct tree tree;

static bool has(pid_t pid) {
    for (int i = 0; i < tree.count; i++)
        if (tree.pids[i] == pid)
            return true;
    return false;
}

/* Looks once at every process, and stops those that are new, so that they make no more; tells whether there were some. */
static bool stop_new(pid_t program) {
    bool found = false;
    DIR *proc = opendir("/proc");
    if (!proc)
        return false;
    struct dirent *entry;
    while ((entry = readdir(proc)) && tree.count < MOST_PROGRAMS) {
        pid_t pid = atoi(entry->d_name), parent, session;
        if (pid <= 1 || has(pid) || !look(pid, &parent, &session))
            continue;
        if (pid != program && session != program && !has(parent) && !has(session))
            continue;
        kill(pid, SIGSTOP);
        tree.pids[tree.count++] = pid;
        found = true;
    }
    closedir(proc);
    return found;
}

static void kill_tree(pid_t program) {
    enum { PASSES = 64 };
    tree.count = 0;
    for (int pass = 0; pass < PASSES && stop_new(program); pass++)
        ;
    for (int i = 0; i < tree.count; i++)
        kill(tree.pids[i], SIGKILL);
    kill(program, SIGKILL);
}

static void kill_program(const struct request *request) {
    for (int i = 0; i < MOST_PROGRAMS; i++) {
        if (request->pid <= 1 || programs[i].pid != request->pid)
            continue;
        if (request->number == SIGKILL)
            kill_tree(request->pid);
        else
            kill(-request->pid, request->number);
        return;
    }
}

static void reap(void) {
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        for (int i = 0; i < MOST_PROGRAMS; i++) {
            if (programs[i].pid != pid)
                continue;
            struct answer answer = {
                .kind = EXITED,
                .pid = pid,
                .status = status,
                .user = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec,
                .system = (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec,
                .peak = (uint64_t)usage.ru_maxrss * 1024,
            };
            send_answer(programs[i].answer, &answer, -1);
            close(programs[i].answer);
            /* After SIGKILL the caller closes the socket when it has read how often the kernel killed for lack of memory:
             * the cgroup that counts may go with this process. */
            if (programs[i].last && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
                _exit(0);
            programs[i] = (struct program){0};
            break;
        }
    }
}

/* Carries out one request; false when the caller is gone. */
static bool serve(void) {
    struct request request = {0};
    struct iovec vector = {.iov_base = &request, .iov_len = sizeof request};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)];
    } room;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    ssize_t size = recvmsg(CALLER, &message, MSG_CMSG_CLOEXEC);
    if (size < 0)
        return errno == EINTR || errno == EAGAIN || errno == ENOMEM;
    if (size == 0)
        return false;
    int fds[MOST_DESCRIPTORS], count = 0;
    for (int i = 0; i < MOST_DESCRIPTORS; i++)
        fds[i] = -1;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            int more = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            for (int i = 0; i < more && count < MOST_DESCRIPTORS; i++, count++)
                memcpy(&fds[count], CMSG_DATA(part) + (size_t)i * sizeof(int), sizeof(int));
        }
    if (size == sizeof request) {
        if (request.kind == SPAWN && count == 5)
            spawn(&request, fds);
        else if (request.kind == OPEN && count == 2)
            open_file(&request, fds);
        else if (request.kind == KILL)
            kill_program(&request);
        else if (request.kind == WATCH && count == 1) {
            watched_process = fds[0];
            fds[0] = -1;
        }
    }
    for (int i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return true;
}

int main(void) {
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    fcntl(CALLER, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_DFL);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    int ended = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    workspace = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ended < 0 || workspace < 0)
        return 1;
    struct pollfd watched[] = {
        {.fd = CALLER, .events = POLLIN}, {.fd = ended, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    for (;;) {
        watched[2].fd = watched_process;
        if (poll(watched, 3, -1) < 0 && errno != EINTR)
            return 1;
        if (watched[2].revents)
            return 0;
        if (watched[1].revents) {
            struct signalfd_siginfo information[16];
            while (read(ended, information, sizeof information) > 0)
                ;
            reap();
        }
        if (watched[0].revents && !serve())
            return 0;
    }
}
