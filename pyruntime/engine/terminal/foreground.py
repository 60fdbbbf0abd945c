"""`run` in the foreground: pass signals on to the container, relay its terminal, and return its exit status.

Signals have no handlers. They are blocked and read one by one with sigwait(3), so that none is lost between making the
container and waiting for it, and none interrupts a system call. Code that makes a process meanwhile, for the container
or a hook, must give it an empty signal mask.
"""

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.base.signals import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pyruntime.engine.caller.options import CreateOptions
    from pyruntime.engine.terminal.proxy import Terminal

    Made = TypeVar("Made")

_KILLED = 128 + NUMBERS["KILL"]  # the exit status of a process that SIGKILL ended
_CHLD, _CONT, _WINCH = NUMBERS["CHLD"], NUMBERS["CONT"], NUMBERS["WINCH"]


def _set(*names: str) -> int:
    """Return the set of these signals, as the stub has it: bit n - 1 is signal n."""
    return sum(1 << NUMBERS[name] - 1 for name in names)


# Signals that stay as they are: the interpreter ignores the first two, because write(2) fails as well, and with the
# next two the kernel stops this process, as it should, when it uses the terminal of another job.
_LEFT_ALONE = _set("PIPE", "XFSZ", "TTIN", "TTOU", "KILL", "STOP")

_EVERY = (1 << 64) - 1

# Signals that end the wait for a slow reader of the output, once there is no container to forward them to.
_IMPATIENT = frozenset(NUMBERS[name] for name in ("HUP", "INT", "QUIT", "TERM"))


def accompany(options: "CreateOptions", subreaper: bool, live: "Callable[[], int]") -> int:
    """Call `live`, which makes a container and waits for its end, with signals held for it; return what it returns.

    subreaper  wait for processes that the container's own have left behind (prctl(2))

    Raises Error where the container's terminal was to be given to somebody else.
    """
    if options.console_socket:
        raise Error(
            "nobody would read the console socket",
            "in the foreground pyruntime itself is the terminal",
            advice="add --detach, or leave out --console-socket",
        )
    if subreaper:
        _check("prctl(PR_SET_CHILD_SUBREAPER)", lib.pyr_prctl(lib.PR_SET_CHILD_SUBREAPER, 1, 0))
    mask = hold_signals()
    try:
        return live()
    finally:
        release_signals(mask)


def with_terminal(options: "CreateOptions", make: "Callable[[], Made]") -> "tuple[Made, int]":
    """Call `make`, which makes a container; return what it returns, and the terminal's master, below 0 without one."""
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    ours, options.console_fd = pair
    try:
        # Without a terminal nobody has the other end any more.
        return make(), lib.pyr_recv_fd(ours)
    finally:
        os.close(ours)


def hold_signals() -> int:
    """Block every signal that may be forwarded, until `wait`, `relay` or `release_signals`.

    Signals that were ignored at the start (nohup) stay ignored. Returns the mask to give to `release_signals`.
    """
    # If the caller ignores SIGCHLD, the kernel would discard the container's exit status.
    _check("sigaction", lib.pyr_default_signal(_CHLD))
    mask = ffi.new("uint64_t *")
    _check("sigprocmask", lib.pyr_block_signals(_held_signals(), mask))
    return int(mask[0])


def release_signals(mask: int) -> None:
    """Restore the signal mask; signals that came too late for the container are dropped."""
    held = _held_signals()
    while _check("sigtimedwait", lib.pyr_take_signal(held, False)):
        pass
    _check("sigprocmask", lib.pyr_set_signal_mask(mask))


def _check(call: str, result: int) -> int:
    """Return what a function of the stub has answered. Raises Error where it is -errno."""
    if result < 0:
        raise Error("cannot look after the container's signals", step=call, errno=-result)
    return result


def wait(pidfd: int, pid: int) -> int:
    """Forward signals to the container's init, our child `pid`, until it ends; return its exit status, 128+n for a
    signal. `pidfd` stays the caller's."""
    hold_signals()
    return _supervise(pidfd, pid, None)


def follow(pidfd: int, pid: int, master: int, paths: "dict[str, str]") -> int:
    """Do as `relay` with the terminal's `master`, or as `wait` where that is below 0; say what the status does not.

    paths  controller -> directory of the container's group
    """
    status = wait(pidfd, pid) if master < 0 else relay(master, pidfd, pid)
    if status == _KILLED:
        from pyruntime.cgroup import oom

        oom.warn(paths)
    return status


def prepare(master_fd: int) -> None:
    """Give the container's terminal the size of ours; to be called before the container's process starts."""
    from pyruntime.engine.terminal import proxy as terminal

    terminal.prepare(master_fd)


def relay(master_fd: int, pidfd: int, pid: int) -> int:
    """Do as `wait`, and relay the terminal whose master is `master_fd`: copy stdin to it and its output to stdout, and
    give it the size of the caller's terminal, which is in raw mode until this returns.

    Takes over `master_fd`, which was given to `prepare`. When nobody reads stdout any more, the terminal is closed.
    """
    from pyruntime.engine.terminal.proxy import Terminal

    hold_signals()
    terminal = Terminal(master_fd)
    try:
        terminal.start()
        return _supervise(pidfd, pid, terminal)
    finally:
        terminal.close()


def _supervise(pidfd: int, pid: int, terminal: "Terminal | None") -> int:
    """Take signals until the container has ended and its last output is written."""
    held = _held_signals()
    status = _exit_status(pid)
    if log.events is not None:
        log.events.begin("the program runs", "program")
        log.events.flush()
    while True:
        if status is not None:
            if terminal is None or terminal.drained:
                if log.events is not None:
                    log.events.end()
                return status
            terminal.finish()
        number = _check("sigtimedwait", lib.pyr_take_signal(held, True))
        if number == _CHLD:
            status = _exit_status(pid) if status is None else status
        elif status is not None:
            if number in _IMPATIENT:
                return status
        elif number == _WINCH and terminal:
            _adapt(terminal.fit)
        else:
            if number == _CONT and terminal:
                # The shell used the terminal while this process was stopped.
                _adapt(terminal.enter)
            _forward(pidfd, number)


def _adapt(change: "Callable[[], None]") -> None:
    """Change the caller's terminal; if it is gone, the container continues to run."""
    try:
        change()
    except Error as error:
        log.warning(f"cannot adapt the terminal: {error}")


_held: "list[int]" = []


def _held_signals() -> int:
    """Return the signals that are blocked; computed once, because nothing here changes which are ignored."""
    if not _held:
        ignored = ffi.new("uint64_t *")
        _check("sigaction", lib.pyr_ignored_signals(ignored))
        _held.append(~(ignored[0] | _LEFT_ALONE) & _EVERY | _set("CHLD"))
    return _held[0]


def _exit_status(pid: int) -> int | None:
    """Return the exit status of our child `pid`, 128+n when signal n ended it, None while it lives.

    A subreaper also gets orphaned processes of the container; nobody else waits for them.
    """
    status = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == pid:
                code = os.waitstatus_to_exitcode(ended[1])
                status = 128 - code if code < 0 else code
    except ChildProcessError as error:
        if status is None:
            raise Error(f"cannot wait for process {pid}", "it is no child of ours", errno=error.errno or 0) from None
    return status


def _forward(pidfd: int, number: int) -> None:
    """Send signal `number` to the container's init."""
    log.debug(f"passing signal {number} on to the container")
    # A failure means that init has just ended; its SIGCHLD comes next.
    lib.pyr_pidfd_send_signal(pidfd, number)
