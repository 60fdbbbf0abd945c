/* Times of the steps, for --debug and --trace. Each is sent to the host at once, over the socket that the process has
 * to it, so that no other resource of the host is open or mapped here. Without these options nothing is done.
 *
 * The clock is CLOCK_REALTIME, because a time namespace changes the others.
 */
#include <time.h>

#include "sockets.h"
#include "stub.h"

/* Returns the time in nanoseconds, 0 without these options. */
uint64_t mark_begin(const struct stub *stub) {
    struct timespec now;
    if (stub->marks < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Sends that `step` (its number, or an enum stage), begun at `begin`, is done; returns the time. An error is ignored:
 * if the host has exited, the next wait for it finds that. */
uint64_t mark(const struct stub *stub, uint32_t step, uint64_t begin) {
    if (stub->marks < 0)
        return 0;
    struct message_mark message = {.kind = MESSAGE_MARK, .step = step, .begin = begin, .end = mark_begin(stub)};
    (void)!pyr_send(stub->marks, (const char *)&message, sizeof message);
    return message.end;
}
