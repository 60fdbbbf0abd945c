/* What the first process, and the intermediate one before it, say to the host over their socket `sync`, and wait for. */
#include "messages.h"

#include <sys/prctl.h>
#include <sys/socket.h>

#include "sockets.h"

/* Who cannot tell the host leaves: it reads the end of the connection then, instead of waiting for ever. */
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

/* Waits for the next message and tells whether it is the word to go on. */
bool hears_go(int sync) {
    char word = 0;
    ssize_t size;
    do
        size = recv(sync, &word, 1, 0);
    while (size < 0 && errno == EINTR);
    return size == 1 && word == MESSAGE_GO;
}

/* Waits for the host's word. Its end closed means that the host died: then nothing may be left of the container. */
void await_host(int sync) {
    if (!hears_go(sync))
        _exit(1);
}

/* Runs the steps `from` to `to` of a list; ends with a report of the one that failed. */
void run_steps(const struct spawn *spawn, struct stub *stub, enum list list, uint32_t from, uint32_t to) {
    const struct step *steps = list == LIST_BUILD ? spawn->build : list == LIST_ENTER ? spawn->enter : spawn->process;
    int done = pyr_run(stub, steps + from, to - from);
    if (done != (int)(to - from))
        die_at(spawn->sync, MESSAGE_STEP, list, (int)from + done, stub->call, stub->text);
}

void set_dumpable(const struct spawn *spawn, unsigned long dumpable) {
    if (prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0)
        die(spawn->sync, -1, "prctl", "");
}

/* A limit of processes counts the intermediate one, too. Where it leaves no room for the one to come, the host takes this
 * one out of the container's groups, and puts the other one into them. */
void ask_for_room(int sync) {
    static const char crowded = MESSAGE_CROWDED;
    tell(sync, &crowded, sizeof crowded);
    await_host(sync);
}
