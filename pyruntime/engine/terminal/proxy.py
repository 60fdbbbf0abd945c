"""The host's side of a container's terminal: the caller's terminal in raw mode, its size, and the bytes both ways."""

import _signal  # type: ignore[import-not-found]
import _thread
import errno
import fcntl
import select
import termios

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error, refused

STDIN, STDOUT, STDERR = 0, 1, 2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Settings = list[Any]  # of tcgetattr: five numbers of flags and speeds, then the list of control characters

_CHUNK = 65536
_NO_SIZE = bytes(8)  # struct winsize: four shorts
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6

# What cfmakeraw(3) clears, but for OPOST.
_COOKED_INPUT = (
    termios.IGNBRK
    | termios.BRKINT
    | termios.PARMRK
    | termios.ISTRIP
    | termios.INLCR
    | termios.IGNCR
    | termios.ICRNL
    | termios.IXON
)
_COOKED_LOCAL = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN


class Terminal:
    """Relays between the terminal whose master is `master_fd` and our stdin and stdout.

    Two threads copy, one in each direction, with blocking reads and writes: a reader that stalls blocks neither the
    other direction nor the signals. `drained` turns true when the last output is written; the thread that
    called `start` then gets a SIGCHLD, which it waits for anyway.
    """

    __slots__ = (
        "_ended_for",
        "_ending",
        "_input_ended",
        "_main",
        "_master",
        "_own",
        "_saved",
        "_stop",
        "_stopped",
        "drained",
    )

    def __init__(self, master_fd: int) -> None:
        self.drained = False
        self._master = master_fd
        self._main = _thread.get_ident()
        self._own = STDIN if os.isatty(STDIN) else None
        self._saved: Settings | None = None
        self._input_ended = False
        self._ended_for: int | None = None
        self._ending = _thread.allocate_lock()
        stopped, stop = os.pipe()
        self._stopped = stopped
        self._stop: int | None = stop

    def start(self) -> None:
        """Begin to relay; our own terminal goes into raw mode."""
        self.enter()
        os.start_thread(self._copy_output)
        os.start_thread(self._copy_input)

    def enter(self) -> None:
        """Put our own terminal into raw mode and take over its size, unless another job has it."""
        if self._own is None or not _in_foreground(self._own):
            return
        if self._saved is None:
            self._saved = _settings(termios.tcgetattr, self._own)
        _settings(termios.tcsetattr, self._own, termios.TCSADRAIN, _raw(self._saved))
        self.fit()

    def fit(self) -> None:
        """Give the container's terminal the size of ours."""
        fit(self._master)

    def finish(self) -> None:
        """Stop reading stdin, and end when the container's output is written."""
        if self._stop is not None:
            os.close(self._stop)
            self._stop = None

    def close(self) -> None:
        """Close the container's terminal, and restore the caller's terminal."""
        self.finish()
        self._hang_up()
        if self._own is not None and self._saved is not None and _in_foreground(self._own):
            _settings(termios.tcsetattr, self._own, termios.TCSADRAIN, self._saved)

    def _copy_output(self) -> None:
        """Copy the container's output to stdout, until it ends or nobody reads stdout; then hang up."""
        try:
            self._relay_output()
            self._hang_up()
        except (Error, MemoryError) as error:
            _warn("cannot relay the terminal's output", error)
        finally:
            self.drained = True
            try:
                _signal.pthread_kill(self._main, _signal.SIGCHLD)
            except OSError:
                # The signal is blocked in each thread; the main one takes it with sigwait(3).
                os.kill(os.getpid(), _signal.SIGCHLD)

    def _relay_output(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._master, select.POLLIN)
            poll.register(self._stopped, 0)
            # poll(2) on a terminal first processes what was written at the other end, so after `finish` "not ready"
            # means that there is no more output.
            while self._master in (ready := dict(os.call(poll.poll))) or self._stopped not in ready:
                data = os.read(self._master, _CHUNK)
                if not data or not _write_all(STDOUT, data):
                    break
                if self._input_ended:
                    self._end_input()
        except (Error, MemoryError) as error:
            # EIO: the last process that had the terminal open is gone.
            if getattr(error, "errno", 0) != errno.EIO:
                _warn("cannot relay the terminal's output", error)

    def _copy_input(self) -> None:
        """Copy stdin to the container."""
        last = b"\n"
        try:
            poll = select.poll()
            poll.register(STDIN, select.POLLIN)
            poll.register(self._stopped, 0)
            while self._stopped not in dict(os.call(poll.poll)):
                data = _read(STDIN)
                if data == b"":
                    # After half a line, the first only sends that half.
                    if last != b"\n":
                        self._end_input()
                        self._ended_for = None
                    self._input_ended = True
                    self._end_input()
                    return
                if data:
                    last = data[-1:]
                    if not _write_all(self._master, data):
                        return
        except (OSError, MemoryError):
            # stdin is closed, or it is the terminal of another job and our process group is orphaned (EIO): there is no
            # more input. Or the terminal is gone.
            pass

    def _end_input(self) -> None:
        """Send the end-of-file character, once for each mode in which the container reads its terminal.

        A shell with line editing switches canonical mode off, and loses a character sent before that. It switches
        before it prompts, so this function is called again after each output.
        """
        poll = select.poll()
        poll.register(self._master, select.POLLOUT)
        with self._ending:
            settings = _settings(termios.tcgetattr, self._master)
            mode = settings[_LFLAG] & termios.ICANON
            if mode != self._ended_for and os.call(poll.poll, 0):
                self._ended_for = mode
                os.write(self._master, settings[_CC][termios.VEOF])

    def _hang_up(self) -> None:
        """Replace the master by /dev/null: closing it would free its number, which the other thread may use."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, self._master, inheritable=False)
        os.close(null)


def _warn(what: str, error: "Error | MemoryError") -> None:
    try:
        from pyruntime.base import log

        log.warning(f"{what}: {error if str(error) else 'out of memory'}")
    except (Error, MemoryError, ImportError):  # the container goes on without the words
        pass


def _settings(function: "Callable[..., Any]", fd: int, *arguments: object) -> "Any":
    """Return `function(fd, ...)`, tcgetattr or tcsetattr. Raises OSError, which is an Error."""
    try:
        return function(fd, *arguments)
    except termios.error as error:
        raise refused(function.__name__, fd, OSError(*error.args)) from None


def prepare(master_fd: int) -> None:
    """Set up the terminal of `master_fd` for the relay, before a program on it can look at its size and settings."""
    if not _raw_output():
        settings = _settings(termios.tcgetattr, master_fd)
        settings[_OFLAG] &= ~termios.ONLCR
        _settings(termios.tcsetattr, master_fd, termios.TCSANOW, settings)
    fit(master_fd)


def fit(master_fd: int) -> None:
    """Give the terminal of `master_fd` the size of the first terminal among our stdin, stdout and stderr, if any."""
    for fd in (STDIN, STDOUT, STDERR):
        if os.isatty(fd):
            size = os.call(fcntl.ioctl, fd, termios.TIOCGWINSZ, _NO_SIZE)
            if size != _NO_SIZE:
                os.call(fcntl.ioctl, master_fd, termios.TIOCSWINSZ, size)
            return


def _raw_output() -> bool:
    """Tell whether the container's terminal processes its output and ours does not: with a terminal at both ends.

    Otherwise it is the other way round, because output may go to a file or a pipe, where the carriage returns that
    a terminal adds are not wanted.
    """
    return os.isatty(STDIN) and os.isatty(STDOUT)


def _raw(saved: "Settings") -> "Settings":
    """Return the settings `saved` changed so that every key reaches the container as it is."""
    settings = [*saved]
    settings[_IFLAG] &= ~_COOKED_INPUT
    settings[_LFLAG] &= ~_COOKED_LOCAL
    settings[_CFLAG] = settings[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    if _raw_output():
        settings[_OFLAG] &= ~termios.OPOST
    settings[_CC] = [*settings[_CC]]
    settings[_CC][termios.VMIN], settings[_CC][termios.VTIME] = 1, 0
    return settings


def _in_foreground(fd: int) -> bool:
    """Tell whether our job is the one that the terminal `fd` belongs to now."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        # Not our controlling terminal: then there is no job control, and nobody else's turn.
        return True


def _read(fd: int) -> bytes | None:
    """Read what there is; None when there is nothing after all."""
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None


def _write_all(fd: int, data: bytes) -> bool:
    """Write all of `data`; False when nobody can read it any more."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[_write(fd, rest) :]
    except OSError:
        return False
    return True


def _write(fd: int, data: memoryview) -> int:
    """Write some of `data`, even where the caller gave us a descriptor that does not block; return how much."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        os.call(poll.poll)
        return 0
