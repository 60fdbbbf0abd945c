/* Signals that are held back and taken one by one. A set of them is a number whose bit n - 1 is signal n. */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

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

/* Return the signals that this process ignores. */
uint64_t pyr_ignored_signals(void) {
    uint64_t bits = 0;
    for (int number = 1; number <= LAST; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            bits |= UINT64_C(1) << (number - 1);
    }
    return bits;
}

int pyr_default_signal(int number) { return signal(number, SIG_DFL) == SIG_ERR ? -errno : 0; }

/* Block the signals of `set` too; return those that were blocked before. */
uint64_t pyr_block_signals(uint64_t set) {
    sigset_t more = from_bits(set), before;
    sigprocmask(SIG_BLOCK, &more, &before);
    return to_bits(&before);
}

void pyr_set_signal_mask(uint64_t set) {
    sigset_t all = from_bits(set);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

/* Take one of the blocked signals of `set`; return its number, or 0 when none is there and `wait` is false. */
int pyr_take_signal(uint64_t set, int wait) {
    sigset_t all = from_bits(set);
    struct timespec now = {0};
    int number;
    do
        number = sigtimedwait(&all, NULL, wait ? NULL : &now);
    while (number < 0 && errno == EINTR);
    return number < 0 ? 0 : number;
}
