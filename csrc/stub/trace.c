/* When each step was done, for --debug and --trace: told to the host at once, over the socket that the process has to it
 * anyway, so that nothing else of the host's has to be open or mapped. Without a host that asks nothing is done here.
 *
 * The clock is CLOCK_REALTIME, because a time namespace changes the others.
 */
#include <time.h>

#include "sockets.h"
#include "stub.h"

/* The time in nanoseconds, 0 where nobody asks. */
uint64_t mark_begin(const struct stub *stub) {
    struct timespec now;
    if (stub->marks < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Tells that `step` (its number, or an enum stage) was done, begun at `begin`; returns the time. Who cannot tell it goes
 * on: that the host is gone is found out where something is waited for. */
uint64_t mark(const struct stub *stub, uint32_t step, uint64_t begin) {
    if (stub->marks < 0)
        return 0;
    struct message_mark message = {.kind = MESSAGE_MARK, .step = step, .begin = begin, .end = mark_begin(stub)};
    (void)!pyr_send(stub->marks, (const char *)&message, sizeof message);
    return message.end;
}
