"""`run` in the foreground: pass signals on to the container, relay its terminal, and return its exit status.

csrc/stub/foreground.c does this. If the container's program runs longer or has a terminal, this process first executes
pyruntime again, and waits without Python in its memory (csrc/launcher/waiter.c); but not with --debug and --trace.

Signals have no handlers. They are blocked and read one by one with sigwait(3), so that none is lost between making the
container and waiting for it, and none interrupts a system call. Code that makes a process meanwhile, for the container
or a hook, must give it an empty signal mask.
"""

import errno
import sys

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import jsonio, log
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.base.signals import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from pyruntime.engine.caller.options import CreateOptions

    Made = TypeVar("Made")

# The exit statuses of processes that these signals ended.
_KILLED, _FILTERED = 128 + NUMBERS["KILL"], 128 + NUMBERS["SYS"]
_CHLD = NUMBERS["CHLD"]
# Milliseconds after which a program that still runs is waited for without Python. Executing pyruntime twice takes some
# milliseconds of processor time, which a short `run` avoids.
_SHORT = 1000


def _set(*names: str) -> int:
    """Return the set of these signals, as the stub has it: bit n - 1 is signal n."""
    return sum(1 << NUMBERS[name] - 1 for name in names)


# Signals that stay as they are: the interpreter ignores the first two, because write(2) fails as well, and with the
# next two the kernel stops this process, as it should, when it uses the terminal of another job.
_LEFT_ALONE = _set("PIPE", "XFSZ", "TTIN", "TTOU", "KILL", "STOP")

_EVERY = (1 << 64) - 1


def check_console(options: "CreateOptions") -> None:
    """Raise Error if --console-socket is given: in the foreground this process relays the terminal."""
    if options.console_socket:
        raise Error(
            "nobody would read the console socket",
            "in the foreground pyruntime itself is the terminal",
            advice="add --detach, or leave out --console-socket",
        )


def accompany(subreaper: bool, live: "Callable[[], int]") -> int:
    """Call `live`, which makes a container and waits for its end, with signals held for it; return what it returns.

    subreaper  wait for processes that the container's own have left behind (prctl(2))

    Raises Error.
    """
    if subreaper:
        _check("prctl(PR_SET_CHILD_SUBREAPER)", lib.pyr_prctl(lib.PR_SET_CHILD_SUBREAPER, 1, 0))
    mask = hold_signals()
    try:
        return live()
    finally:
        release_signals(mask)


def with_terminal(options: "CreateOptions", make: "Callable[[], Made]") -> "tuple[Made, int]":
    """Call `make`, which makes a container; return its result and the terminal's master.

    Without a terminal the master is -ENOMSG, and -errno if it cannot be received: `check_master`. Raises Error.
    """
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    ours, options.console_fd = pair
    try:
        # Without a terminal the other end is closed.
        return make(), lib.pyr_recv_fd(ours)
    finally:
        os.close(ours)


def check_master(master: int) -> bool:
    """Tell whether there is a terminal. Raises Error if its master could not be received."""
    if master < 0 and master != -errno.ENOMSG:
        raise Error("cannot take the terminal", errno=-master)
    return master >= 0


def hold_signals() -> int:
    """Block every signal that may be forwarded, until `release_signals`; `follow` takes them meanwhile.

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
    while _check("sigtimedwait", lib.pyr_wait_for_signal(held, 0)):
        pass
    _check("sigprocmask", lib.pyr_set_signal_mask(mask))


def _check(call: str, result: int) -> int:
    """Return the result of a function of the stub. Raises Error if it is -errno."""
    if result < 0:
        raise Error("cannot look after the container's signals", step=call, errno=-result)
    return result


class Ended:
    """The result of the wait, for the process that is executed after it.

    status                        exit status of the program, 128+n for a signal
    output_error, terminal_error  errno of copying its output, and of changing the caller's terminal, or 0
    directory                     the descriptor given to `follow`, or -1
    """

    __slots__ = ("directory", "output_error", "status", "terminal_error")

    def __init__(self, status: int, output_error: int, terminal_error: int, directory: int) -> None:
        self.status = status
        self.output_error = output_error
        self.terminal_error = terminal_error
        self.directory = directory


def ended() -> "Ended | None":
    """Return what has ended if this process was executed after waiting for a program; warn as `follow` does."""
    if "_launcher" not in sys.builtin_module_names:
        return None
    from _launcher import ended  # type: ignore[import-not-found]  # late: no other interpreter has it

    told = ended()
    if told is None:
        return None
    status, output_error, terminal_error, directory, text = told
    known: Any = jsonio.loads(text)
    _warn(status, output_error, terminal_error, known[0], known[1])
    return Ended(status, output_error, terminal_error, directory)


def prepare(master_fd: int) -> None:
    """Give the container's terminal the size of ours; to be called before the container's process starts."""
    _check("the terminal", lib.pyr_prepare_terminal(master_fd))


def follow(
    pidfd: int,
    pid: int,
    master: int,
    paths: "dict[str, str]",
    directory: int = -1,
    *,
    leave: "bool | None" = None,
    filtered: bool = False,
) -> int:
    """Forward signals to the container's init, our child `pid`, until it ends; return its exit status, 128+n for a
    signal. Print warnings about the end.

    The caller has called `hold_signals`, and releases them.

    pidfd      stays the caller's
    master     the terminal's, which was given to `prepare`, or below 0. This takes it over and relays it: it copies
               stdin to it and its output to stdout, and gives it the size of the caller's terminal, which is in raw
               mode until this returns. When nobody reads stdout any more, the terminal is closed
    paths      controller -> directory of the container's group
    directory  a descriptor for the next execution of pyruntime, or -1
    leave      None: return when the program ends. Otherwise, if the program runs longer, this process executes
               pyruntime again to wait. With True that exits with the program's status; with False, or if there are
               warnings to print, it calls the verb again, and `ended` returns the result there
    filtered   the program has a seccomp filter

    Raises Error if `pid` is no child of this process.
    """
    held = _held_signals()
    waiting = ffi.new("struct foreground *")
    waiting.pid, waiting.pidfd, waiting.master, waiting.held, waiting.status = pid, pidfd, master, held, -1
    waiting.telling, waiting.patience = log.events is not None, -1 if leave is None else _SHORT
    if leave is not None and master >= 0 and _can_leave():
        _leave(waiting, directory, leave, paths, filtered)
    _check("the terminal", lib.pyr_open_foreground(waiting))
    if log.events is not None:
        log.events.begin("the program runs", "program")
        log.events.flush()
    try:
        while number := lib.pyr_wait_foreground(waiting):
            if number == -errno.EAGAIN:
                if _can_leave():
                    _leave(waiting, directory, leave, paths, filtered)
                waiting.patience = -1
            elif number == -errno.ECHILD:
                raise Error(f"cannot wait for process {pid}", "it is no child of ours", errno=errno.ECHILD)
            else:
                log.debug(f"passing signal {_check('sigtimedwait', number)} on to the container")
    finally:
        lib.pyr_close_foreground(waiting)
    if log.events is not None:
        log.events.end()
    _warn(waiting.status, waiting.output_error, waiting.terminal_error, paths, filtered)
    return int(waiting.status)


def _can_leave() -> bool:
    """Tell whether this process can execute pyruntime again: it has the launcher, no log, and loses no capabilities."""
    if "_launcher" not in sys.builtin_module_names or log.events is not None:
        return False
    if os.geteuid() == 0:
        return True
    sets = ffi.new("uint64_t[3]")
    return lib.pyr_capget(sets, sets + 1, sets + 2) == 0 and not sets[1]


def _leave(waiting: "Any", directory: int, exits: "bool | None", paths: "dict[str, str]", filtered: bool) -> None:
    """Execute pyruntime again to wait; return if that is not possible, and this process has to wait itself."""
    from _launcher import wait  # late: as above

    wait(
        waiting.pid, waiting.pidfd, waiting.master, waiting.held, directory, not exits, jsonio.dumps([paths, filtered])
    )


def _warn(status: int, output_error: int, terminal_error: int, paths: "dict[str, str]", filtered: bool) -> None:
    """Print warnings that explain the exit status. The arguments are those of `Ended` and `follow`."""
    for number, what in ((terminal_error, "adapt the terminal"), (output_error, "relay the terminal's output")):
        if number:
            log.warning(f"cannot {what}: {os.strerror(number)}")
    if status == _KILLED:
        pyruntime.cgroup.oom.warn(paths)
    if status == _FILTERED and filtered:
        log.warning(
            f"exit status {status} means SIGSYS: the seccomp filter has killed a process for a call that it does "
            "not allow (/linux/seccomp, config-linux.md#seccomp)"
        )


_held: "list[int]" = []


def _held_signals() -> int:
    """Return the signals that are blocked; computed once, because nothing here changes which are ignored."""
    if not _held:
        ignored = ffi.new("uint64_t *")
        _check("sigaction", lib.pyr_ignored_signals(ignored))
        _held.append(~(ignored[0] | _LEFT_ALONE) & _EVERY | _set("CHLD"))
    return _held[0]
