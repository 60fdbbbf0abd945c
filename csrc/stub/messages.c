/* Messages of the first process and the intermediate process to the host, over their socket `sync`, and the waits for
 * its answers. */
#include "messages.h"

#include <sys/prctl.h>
#include <sys/socket.h>

#include "sockets.h"

/* If a message cannot be sent, the process exits: the host then reads the end of the connection and does not wait. */
void tell(int sync, const void *message, size_t size) {
    if (pyr_send(sync, message, (uint32_t)size) < 0)
        _exit(1);
}

void report(int sync, uint32_t kind, enum list list, int index, const char *call, const char *text) {
    struct message_step message = {.kind = kind, .list = list, .index = index, .error = errno};
    snprintf(message.call, sizeof message.call, "%s", call);
    snprintf(message.text, sizeof message.text, "%s", text);
    tell(sync, &message, sizeof message);
}

_Noreturn void die_at(int sync, uint32_t kind, enum list list, int index, const char *call, const char *text) {
    report(sync, kind, list, index, call, text);
    _exit(1);
}

_Noreturn void die(int sync, int index, const char *call, const char *text) {
    die_at(sync, MESSAGE_SPAWN, LIST_BUILD, index, call, text);
}

/* Waits for the next message; tells whether it is MESSAGE_GO. */
bool hears_go(int sync) {
    char word = 0;
    ssize_t size;
    do
        size = recv(sync, &word, 1, 0);
    while (size < 0 && errno == EINTR);
    return size == 1 && word == MESSAGE_GO;
}

/* Waits for MESSAGE_GO. At the end of the connection the host has exited: then this process exits, too. */
void await_host(int sync) {
    if (!hears_go(sync))
        _exit(1);
}

/* Runs the steps `from` to `to` of a list. If one fails, reports it and exits. */
void run_steps(const struct spawn *spawn, struct stub *stub, enum list list, uint32_t from, uint32_t to) {
    struct step *steps = list == LIST_BUILD ? spawn->build : list == LIST_ENTER ? spawn->enter : spawn->process;
    int done = pyr_run(stub, steps + from, to - from);
    if (done != (int)(to - from))
        die_at(spawn->sync, MESSAGE_STEP, list, (int)from + done, stub->call, stub->text);
}

void set_dumpable(const struct spawn *spawn, unsigned long dumpable) {
    if (prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0)
        die(spawn->sync, -1, "prctl", "");
}

/* The intermediate process counts for a limit of processes. If the limit leaves no room for the next process, the host
 * raises it until this one has ended. */
void ask_for_room(int sync) {
    static const char crowded = MESSAGE_CROWDED;
    tell(sync, &crowded, sizeof crowded);
    await_host(sync);
}
