/* Sends without end in the name of every process that comes up, over each socket that it has, and keeps the sockets open.
 *   flooder FILE    notes in FILE, a byte each, that a message was sent
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "newcomers.h"

enum { FIRST = 3, LAST = 10 }; /* where the sockets may be */

static int taken(int process, int number) {
    return (int)syscall(SYS_pidfd_getfd, process, number, 0);
}

int main(int count, char **words) {
    int seen = open(words[count - 1], O_WRONLY | O_APPEND);
    for (int last = getpid();;) {
        int process = next_newcomer(&last);
        if (fork() > 0) {
            last++; /* the child's */
            close(process);
            continue;
        }
        struct pollfd end = {.fd = process, .events = POLLIN};
        while (poll(&end, 1, 0) == 0)
            for (int number = FIRST; number < LAST; number++) {
                int descriptor = taken(process, number), sent = 0;
                while (descriptor >= 0 && send(descriptor, "D\n", 2, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                    sent = 1;
                if (sent)
                    (void)!write(seen, "s", 1);
                else if (descriptor >= 0)
                    close(descriptor);
            }
        pause(); /* with all that it has taken */
    }
}
