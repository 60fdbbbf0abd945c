/* Waits for a program in the foreground: passes signals on, relays its terminal, and takes its exit status.
 *
 * The runtime's own process calls this, and the process that waits in its place without Python (launcher/waiter.c).
 */
#include "foreground.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

#include "python_calls.h"
#include "signals.h"
#include "terminal_relay.h"

/* Starts to relay the terminal, if there is one. Returns 0 or -errno. */
int pyr_open_foreground(struct foreground *foreground) {
    if (foreground->master < 0)
        return 0;
    foreground->terminal = terminal_open(foreground->master);
    return foreground->terminal ? 0 : -errno;
}

/* Closes the terminal and restores the caller's. */
void pyr_close_foreground(struct foreground *foreground) {
    if (!foreground->terminal)
        return;
    foreground->output_error = terminal_output_error(foreground->terminal);
    int result = terminal_close(foreground->terminal);
    if (result < 0)
        foreground->terminal_error = -result;
    foreground->terminal = NULL;
}

/* Takes the exit status if the process has ended. A subreaper also gets orphaned processes of the container; nobody else
 * waits for them. Returns 0 or -errno. */
static int reap(struct foreground *foreground) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == foreground->pid)
            foreground->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return pid < 0 && foreground->status < 0 ? -errno : 0;
}

/* If the caller's terminal is gone, the container continues to run. */
static void note(struct foreground *foreground, int result) {
    if (result < 0)
        foreground->terminal_error = -result;
}

/* Whether a signal ends the wait for a slow reader of the output, once there is no program to pass it on to. */
static bool impatient(int number) {
    return number == SIGHUP || number == SIGINT || number == SIGQUIT || number == SIGTERM;
}

/* Takes signals until the program has ended and its last output is written. Returns 0 then; the number of a signal that
 * was passed on, if that is wanted; -EAGAIN after the time that was given; or -errno. */
int pyr_wait_foreground(struct foreground *foreground) {
    struct terminal *terminal = foreground->terminal;
    int result = reap(foreground);
    while (result == 0) {
        if (foreground->status >= 0) {
            if (!terminal || terminal_drained(terminal))
                return 0;
            terminal_finish(terminal);
        }
        int number = pyr_wait_for_signal(foreground->held, foreground->patience);
        if (number <= 0)
            return number < 0 ? number : -EAGAIN;
        if (number == SIGCHLD) {
            result = foreground->status < 0 ? reap(foreground) : 0;
        } else if (foreground->status >= 0) {
            if (impatient(number))
                return 0;
        } else if (number == SIGWINCH && terminal) {
            note(foreground, terminal_fit(terminal));
        } else {
            /* The shell used the terminal while this process was stopped. */
            if (number == SIGCONT && terminal)
                note(foreground, terminal_enter(terminal));
            /* A failure means that the program has just ended; its SIGCHLD comes next. */
            pyr_pidfd_send_signal(foreground->pidfd, number);
            if (foreground->telling)
                return number;
        }
    }
    return result;
}
