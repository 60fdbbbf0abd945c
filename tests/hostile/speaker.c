/* Speaks in the name of every process that comes up: takes its socket, and sends the message given, in a loop.
 *   speaker MESSAGE FILE    notes in FILE, a byte each, that a message was sent
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "newcomers.h"

enum { FIRST = 3, LAST = 8 }; /* where the socket may be */

int main(int count, char **words) {
    int seen = open(words[count - 1], O_WRONLY | O_APPEND);
    for (int last = getpid();;) {
        int process = next_newcomer(&last);
        for (int number = FIRST; number < LAST; number++) {
            int descriptor = (int)syscall(SYS_pidfd_getfd, process, number, 0);
            if (descriptor < 0)
                continue;
            if (send(descriptor, words[1], strlen(words[1]), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                (void)!write(seen, "s", 1);
            close(descriptor);
        }
        close(process);
    }
}
