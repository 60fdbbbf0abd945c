/* The host's side of a container's terminal: the caller's terminal in raw mode, its size, and the bytes both ways.
 *
 * Two threads copy, one in each direction, with blocking reads and writes: a reader that stalls blocks neither the other
 * direction nor the signals. A thread may outlive the relay while its read or write blocks. Therefore the last of the
 * three that use a terminal's data frees it.
 */
#include "terminal_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { CHUNK = 65536, STACK = 65536 };

struct terminal {
    int master;
    int stopped, stop;        /* a pipe: the other end of `stopped` is closed when the relay shall end */
    bool ours;                /* stdin is a terminal */
    bool changed;             /* it is in raw mode, and `before` is what it was */
    struct termios before;
    pthread_t main;           /* gets SIGCHLD when the last output is written */
    atomic_int users;
    atomic_bool drained, input_ended;
    atomic_int output_error;
    pthread_mutex_t ending;
    int ended_for;            /* the mode in which the end of the input was sent last, or -1 */
    char output[CHUNK], input[CHUNK];
};

/* ---- Settings ---- */

/* Whether the container's terminal processes its output and ours does not: with a terminal at both ends. Otherwise it is
 * the other way round, because output may go to a file or a pipe, where the carriage returns that a terminal adds are not
 * wanted. */
static bool raw_output(void) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO); }

/* Gives the terminal of `master` the size of the first terminal among stdin, stdout and stderr, if any. */
static int fit(int master) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        struct winsize size;
        if (!isatty(fd))
            continue;
        if (ioctl(fd, TIOCGWINSZ, &size) < 0)
            return -errno;
        if ((size.ws_row || size.ws_col || size.ws_xpixel || size.ws_ypixel) && ioctl(master, TIOCSWINSZ, &size) < 0)
            return -errno;
        return 0;
    }
    return 0;
}

/* Sets up the terminal of `master` for the relay, before a program on it can look at its size and settings. Returns 0 or
 * -errno. */
int pyr_prepare_terminal(int master) {
    struct termios settings;
    if (!raw_output()) {
        if (tcgetattr(master, &settings) < 0)
            return -errno;
        settings.c_oflag &= ~(tcflag_t)ONLCR;
        if (tcsetattr(master, TCSANOW, &settings) < 0)
            return -errno;
    }
    return fit(master);
}

/* Whether our job is the one that the terminal belongs to now. If it is not our controlling terminal, there is no job
 * control, and nobody else's turn. */
static bool in_foreground(int fd) {
    pid_t job = tcgetpgrp(fd);
    return job < 0 || job == getpgrp();
}

/* Puts our own terminal into raw mode and takes over its size, unless another job has it. Returns 0 or -errno. */
int terminal_enter(struct terminal *terminal) {
    if (!terminal->ours || !in_foreground(STDIN_FILENO))
        return 0;
    if (!terminal->changed && tcgetattr(STDIN_FILENO, &terminal->before) < 0)
        return -errno;
    terminal->changed = true;
    struct termios settings = terminal->before;
    cfmakeraw(&settings); /* every key reaches the container as it is */
    if (!raw_output())
        settings.c_oflag = terminal->before.c_oflag;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) < 0)
        return -errno;
    return fit(terminal->master);
}

int terminal_fit(struct terminal *terminal) { return fit(terminal->master); }

/* ---- Copying ---- */

static void release(struct terminal *terminal) {
    if (atomic_fetch_sub(&terminal->users, 1) > 1)
        return;
    close(terminal->stopped);
    free(terminal);
}

/* Replaces the master by /dev/null: closing it would free its number, which the other thread may use. */
static void hang_up(struct terminal *terminal) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    dup3(null, terminal->master, O_CLOEXEC);
    close(null);
}

/* Writes all, also to a non-blocking descriptor of the caller. Returns false if its reader has closed it. */
static bool write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t written = write(fd, data, size);
        if (written >= 0) {
            data += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            poll(&room, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Sends the end-of-file character, once for each mode in which the container reads its terminal. A shell with line
 * editing switches canonical mode off, and loses a character sent before that. It switches before it prompts, so this is
 * called again after each output. Returns 0 or -errno. */
static int end_input(struct terminal *terminal) {
    struct termios settings;
    int result = 0;
    pthread_mutex_lock(&terminal->ending);
    if (tcgetattr(terminal->master, &settings) < 0) {
        result = -errno;
    } else {
        int mode = settings.c_lflag & ICANON ? 1 : 0;
        struct pollfd room = {.fd = terminal->master, .events = POLLOUT};
        if (mode != terminal->ended_for && poll(&room, 1, 0) > 0) {
            terminal->ended_for = mode;
            if (write(terminal->master, &settings.c_cc[VEOF], 1) < 0)
                result = -errno;
        }
    }
    pthread_mutex_unlock(&terminal->ending);
    return result;
}

/* Copies the container's output to stdout until it ends or stdout has no reader. Returns 0 or -errno. */
static int relay_output(struct terminal *terminal) {
    for (;;) {
        struct pollfd ready[] = {{.fd = terminal->master, .events = POLLIN}, {.fd = terminal->stopped}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            return -errno;
        /* poll(2) on a terminal first processes what was written at the other end, so when the relay shall end, "not
         * ready" means that there is no more output. */
        if (!ready[0].revents && ready[1].revents)
            return 0;
        if (!ready[0].revents)
            continue;
        ssize_t size = read(terminal->master, terminal->output, CHUNK);
        if (size < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (size < 0)
            return -errno;
        if (size == 0 || !write_all(STDOUT_FILENO, terminal->output, (size_t)size))
            return 0;
        int result = atomic_load(&terminal->input_ended) ? end_input(terminal) : 0;
        if (result < 0)
            return result;
    }
}

static void *copy_output(void *argument) {
    struct terminal *terminal = argument;
    int result = relay_output(terminal);
    /* EIO: the last process that had the terminal open is gone. */
    if (result != -EIO)
        atomic_store(&terminal->output_error, -result);
    hang_up(terminal);
    atomic_store(&terminal->drained, true);
    if (pthread_kill(terminal->main, SIGCHLD) != 0) /* a filter may forbid it; every other thread blocks the signal */
        kill(getpid(), SIGCHLD);
    release(terminal);
    return NULL;
}

/* Copies stdin to the container. If stdin is closed, or is the terminal of another job and our process group is orphaned
 * (EIO), there is no more input. */
static void *copy_input(void *argument) {
    struct terminal *terminal = argument;
    char last = '\n';
    for (;;) {
        struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = terminal->stopped}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            break;
        if (ready[1].revents)
            break;
        if (!ready[0].revents)
            continue;
        ssize_t size = read(STDIN_FILENO, terminal->input, CHUNK);
        if (size < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (size < 0)
            break;
        if (size == 0) {
            /* After half a line, the first only sends that half. */
            if (last != '\n' && end_input(terminal) == 0) {
                pthread_mutex_lock(&terminal->ending);
                terminal->ended_for = -1;
                pthread_mutex_unlock(&terminal->ending);
            }
            atomic_store(&terminal->input_ended, true);
            end_input(terminal);
            break;
        }
        last = terminal->input[size - 1];
        if (!write_all(terminal->master, terminal->input, (size_t)size))
            break;
    }
    release(terminal);
    return NULL;
}

/* ---- The relay ---- */

/* A thread takes no signals: those that are not held back are the main thread's, or the library's caller's. */
static int start_thread(struct terminal *terminal, void *(*function)(void *)) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&terminal->users, 1);
    int error = pthread_create(&thread, &attributes, function, terminal);
    if (error)
        atomic_fetch_sub(&terminal->users, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

/* Takes over the master, and begins to relay; our own terminal goes into raw mode. Returns NULL with errno. */
struct terminal *terminal_open(int master) {
    int ends[2];
    struct terminal *terminal = calloc(1, sizeof *terminal);
    if (!terminal)
        return NULL;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        free(terminal);
        return NULL;
    }
    terminal->master = master;
    terminal->stopped = ends[0];
    terminal->stop = ends[1];
    terminal->ours = isatty(STDIN_FILENO);
    terminal->main = pthread_self();
    terminal->users = 1;
    terminal->ended_for = -1;
    pthread_mutex_init(&terminal->ending, NULL);
    int result = terminal_enter(terminal);
    result = result < 0 ? result : start_thread(terminal, copy_output);
    result = result < 0 ? result : start_thread(terminal, copy_input);
    if (result < 0) {
        terminal_close(terminal);
        errno = -result;
        return NULL;
    }
    return terminal;
}

bool terminal_drained(const struct terminal *terminal) { return atomic_load(&terminal->drained); }

int terminal_output_error(const struct terminal *terminal) { return atomic_load(&terminal->output_error); }

/* Stops reading stdin, and ends when the container's output is written. */
void terminal_finish(struct terminal *terminal) {
    if (terminal->stop >= 0)
        close(terminal->stop);
    terminal->stop = -1;
}

/* Closes the container's terminal, and restores the caller's. Returns 0 or -errno. */
int terminal_close(struct terminal *terminal) {
    int result = 0;
    terminal_finish(terminal);
    hang_up(terminal);
    if (terminal->changed && in_foreground(STDIN_FILENO) &&
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before) < 0)
        result = -errno;
    release(terminal);
    return result;
}
