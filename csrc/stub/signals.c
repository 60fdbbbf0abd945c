/* Signals that are held back and taken one by one. A set of them is a number whose bit n - 1 is signal n. */
#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stub.h"

enum { LAST = 64 };

static sigset_t from_bits(uint64_t bits) {
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number <= LAST; number++)
        if (bits >> (number - 1) & 1)
            sigaddset(&set, number);
    return set;
}

static uint64_t to_bits(const sigset_t *set) {
    uint64_t bits = 0;
    for (int number = 1; number <= LAST; number++)
        if (sigismember(set, number) == 1)
            bits |= UINT64_C(1) << (number - 1);
    return bits;
}

/* Set *set to the signals that this process ignores; return 0 or -errno. */
int pyr_ignored_signals(uint64_t *set) {
    *set = 0;
    for (int number = 1; number <= LAST; number++) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        /* Those that the C library keeps for itself are no signals to it. */
        if (sigaction(number, NULL, &action) < 0 && errno != EINVAL)
            return -errno;
        if (action.sa_handler == SIG_IGN)
            *set |= UINT64_C(1) << (number - 1);
    }
    return 0;
}

/* Returns a signal that asks this process to end, is held back and has come; 0 without one. `run` and `exec` hold these
 * back, so a wait of theirs that nobody else ends has to look for them. */
int pyr_signal_to_end(void) {
    static const int to_end[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    sigset_t pending;
    if (sigpending(&pending) < 0)
        return 0;
    for (size_t i = 0; i < sizeof to_end / sizeof *to_end; i++)
        if (sigismember(&pending, to_end[i]) == 1)
            return to_end[i];
    return 0;
}

int pyr_default_signal(int number) { return signal(number, SIG_DFL) == SIG_ERR ? -errno : 0; }

/* Block the signals of `set` too, and set *before to those that were blocked; return 0 or -errno. */
int pyr_block_signals(uint64_t set, uint64_t *before) {
    sigset_t more = from_bits(set), former;
    if (sigprocmask(SIG_BLOCK, &more, &former) < 0)
        return -errno;
    *before = to_bits(&former);
    return 0;
}

/* Return 0 or -errno. */
int pyr_set_signal_mask(uint64_t set) {
    sigset_t all = from_bits(set);
    return sigprocmask(SIG_SETMASK, &all, NULL) < 0 ? -errno : 0;
}

/* Take one of the blocked signals of `set`, and wait for it at most `milliseconds`, or for ever if that is below 0; return
 * its number, 0 when none has come, or -errno. */
int pyr_wait_for_signal(uint64_t set, int milliseconds) {
    sigset_t all = from_bits(set);
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    int number;
    do
        number = sigtimedwait(&all, NULL, milliseconds < 0 ? NULL : &time);
    while (number < 0 && errno == EINTR);
    return number >= 0 ? number : errno == EAGAIN ? 0 : -errno;
}

/* Sets all signals to what a new program expects: default actions, none blocked. Returns 0 or -errno. It uses system
 * calls, because the C library refuses to change the two real-time signals that it uses itself. */
int reset_signals(void) {
    enum { MASK_BYTES = 8 };
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = {0};
    for (int number = 1; number <= LAST; number++)
        if (number != SIGKILL && number != SIGSTOP && /* which have no other disposition */
            syscall(SYS_rt_sigaction, number, &action, NULL, MASK_BYTES) < 0)
            return -errno;
    uint64_t none = 0;
    return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, MASK_BYTES) < 0 ? -errno : 0;
}

/* ---- Init that waits for start ---- */

/* Those that do not end a process by default, or that cannot be blocked (signal(7)). */
static const int harmless[] = {SIGCHLD, SIGCONT, SIGURG,  SIGWINCH, SIGSTOP,
                               SIGTSTP, SIGTTIN, SIGTTOU, SIGKILL};

/* From now on signals that would end another process are held back for pyr_wait_or_end: to the first process of a pid
 * namespace, which has no handlers, they would mean nothing. Returns a descriptor that is readable when one has come, or
 * -errno. By system call, because the C library keeps two signals for itself. */
int pyr_hold_deadly_signals(void) {
    uint64_t set = ~UINT64_C(0);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        set &= ~(UINT64_C(1) << (harmless[i] - 1));
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, sizeof set) < 0)
        return -errno;
    int signals = (int)syscall(SYS_signalfd4, -1, &set, sizeof set, SFD_CLOEXEC);
    return signals < 0 ? -errno : signals;
}

/* Waits until `fd` can be read. If a signal comes to `signals` before, the process ends as a shell names that: 128 and
 * its number. */
void pyr_wait_or_end(int fd, int signals) {
    enum { OTHER, SIGNALS, COUNT };
    struct pollfd files[COUNT] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    while (poll(files, COUNT, -1) < 0)
        if (errno != EINTR)
            return;
    struct signalfd_siginfo signal;
    if (files[SIGNALS].revents && read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal)
        _exit(128 + (int)signal.ssi_signo);
}
