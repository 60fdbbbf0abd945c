"""CRIU, the program that writes a container's processes into images and makes them again (criu(8)), as runc uses it."""

import select
import socket

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.engine.criu import rpc
from pyruntime.host import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.engine.criu.options import CriuOptions
    from pyruntime.engine.criu.rpc import Message

    # Called with the name of each step that CRIU announces, a pid or 0, and a descriptor that came with it or -1.
    Notified = Callable[[str, int, int], None]

_OLDEST = 31600  # 3.16: external pid namespaces, and labels that change
_LONGEST = 1 << 16  # bytes of a message
_LOOK = 1000  # milliseconds after which a wait for CRIU looks for signals
_GRACE = 5000  # milliseconds for a CRIU that has lost its connection to let the container continue as it was
_PATIENCE = 10.0  # seconds for killed processes to end
_KILL = 9


class Service:
    """`criu swrk`: one request, in a process of its own. Use as a context.

    The caller blocks signals (`foreground.hold_signals`). One that asks to end ends each wait for CRIU: then CRIU and
    the processes that it has made are ended, too. Children that this process has before are left alone.

    doing  for errors: "cannot checkpoint the container"
    grace  milliseconds for CRIU to end by itself then, before it is killed
    """

    def __init__(self, doing: str, descriptors: "tuple[int, ...]" = (), grace: int = 0) -> None:
        """Start CRIU, which inherits `descriptors` beside stdin, stdout and stderr. Raises Error where it is missing.

        Its own output, if it has any, is not the container's.
        """
        self.doing = doing
        self.grace = grace
        self._others = _children()
        # CRIU gets our pid from the socket, and finds our descriptors in /proc.
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lib.pyr_close_range(3, 0xFFFFFFFF, 1)
        with theirs:
            try:
                self.pid = os.posix_spawn(
                    programs.find("criu"),
                    ["criu", "swrk", str(theirs.fileno())],
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (theirs.fileno(), *descriptors)],
                    setsigmask=[],
                    setsigdef=range(1, 32),
                )
            except OSError as error:
                self.socket.close()
                raise Error(
                    doing, "criu", errno=error.errno or 0, advice="install CRIU, or put it into $PATH"
                ) from None
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except Error:
            self.socket.close()
            os.kill(self.pid, _KILL)
            os.waitpid(self.pid, 0)
            raise

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, kind: "type[BaseException] | None", *_: object) -> None:
        try:
            self._wait()
        except Error:
            if kind is None:
                raise

    def _wait(self) -> int:
        """Close the connection and wait for CRIU; return its exit status, negative for a signal. Raises Error."""
        self.socket.close()
        if self.pidfd < 0:
            return 0
        pidfd, self.pidfd = self.pidfd, -1
        try:
            while not _is_ready(pidfd, _LOOK):
                number = lib.pyr_signal_to_end()
                if number:
                    self._end(pidfd)
                    raise Error(self.doing, f"criu does not end, and signal {number} came")
        finally:
            os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _end(self, pidfd: int) -> None:
        """End CRIU, which has no connection any more, and all that it has made."""
        # The processes of a process that ends become our children.
        lib.pyr_prctl(lib.PR_SET_CHILD_SUBREAPER, 1, 0)
        if not _is_ready(pidfd, self.grace):
            lib.pyr_pidfd_send_signal(pidfd, _KILL)
        pyruntime.cgroup.kill.wait_for_all(self._kill_made, _PATIENCE)

    def _kill_made(self) -> "list[int]":
        """Send SIGKILL to CRIU and to each process that it has left, and return those that have not ended."""
        for pid in _children() - self._others:
            os.kill(pid, _KILL)
            os.waitpid(pid, os.WNOHANG)
        # Those of a process that has just ended, too.
        return list(_children() - self._others)

    def ask(self, kind: int, notified: "Notified | None" = None, **parts: "Message") -> "Message":
        """Make a request of type `kind` and return the response; `notified` is called for each step on the way.

        Raises Error when CRIU fails or ends, and the exceptions of `notified`, after which CRIU gives up.
        """
        self._send({"type": kind, **parts})
        while True:
            response, descriptor = self._receive()
            if response.get("type") != rpc.NOTIFY:
                break
            step = response.get("notify") or {}
            log.debug(f"criu: {step.get('script', '')}")
            try:
                if notified is not None:
                    notified(step.get("script", ""), step.get("pid", 0), descriptor)
            except BaseException:
                self._send({"type": rpc.NOTIFY, "notify_success": False})
                raise
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            self._send({"type": rpc.NOTIFY, "notify_success": True})
        if not response.get("success"):
            number = response.get("cr_errno", 0)
            raise Error(
                self.doing,
                f"criu failed{': ' if response.get('cr_errmsg') else ''}{response.get('cr_errmsg', '')}",
                errno=abs(number),
            )
        return response

    def _send(self, request: "Message") -> None:
        try:
            self.socket.send(rpc.encode(request, rpc.REQUEST))
        except OSError as error:
            raise Error(self.doing, "criu does not listen", errno=error.errno or 0) from None

    def _receive(self) -> "tuple[Message, int]":
        """Return the next response, and the descriptor that came with it or -1. Raises Error."""
        while not _is_ready(self.socket.fileno(), _LOOK):
            number = lib.pyr_signal_to_end()
            if number:
                raise Error(self.doing, f"criu does not answer, and signal {number} came")
        try:
            wire, fds, flags, _ = socket.recv_fds(self.socket, _LONGEST, 4, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise Error(self.doing, "criu does not answer", errno=error.errno or 0) from None
        for fd in fds[1:]:
            os.close(fd)
        try:
            if not wire or flags & socket.MSG_TRUNC:
                raise ValueError
            return rpc.decode(wire, rpc.RESPONSE), fds[0] if fds else -1
        except ValueError:
            for fd in fds[:1]:
                os.close(fd)
        # It has ended, or is about to: nothing else closes the socket.
        status = self._wait()
        raise Error(self.doing, f"criu {'was killed by signal' if status < 0 else 'ended with status'} {abs(status)}")


def _is_ready(fd: int, milliseconds: int) -> bool:
    """Wait at most that long until `fd` can be read: a socket, or the pidfd of a process that has ended."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(os.call(poll.poll, milliseconds))


def _children() -> "set[int]":
    """Return the children of this process, ended ones that nobody has waited for included."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return {int(word) for word in file.read().split()}


def check(doing: str, *features: str) -> None:
    """Raise Error unless CRIU is installed, new enough, and has `features`: "mem_track", "lazy_pages"."""
    with Service(doing) as service:
        version = service.ask(rpc.VERSION).get("version") or {}
    number = version.get("major_number", 0) * 10000 + version.get("minor_number", 0) * 100 + version.get("sublevel", 0)
    if number < _OLDEST:
        raise Error(doing, f"CRIU has version {number}, and at least {_OLDEST} is needed")
    if features:
        with Service(doing) as service:
            wanted = dict.fromkeys(features, True)
            found = service.ask(rpc.FEATURE_CHECK, features=wanted).get("features") or {}
        missing = [name for name in features if not found.get(name)]
        if missing:
            raise Error(doing, f"CRIU cannot do {', '.join(missing)} on this kernel")


def run(
    kind: int,
    doing: str,
    log_file: str,
    options: "CriuOptions",
    request: "Message",
    notified: "Notified",
    *,
    descriptors: "tuple[int, ...]" = (),
    started: "Callable[[int, Message], None] | None" = None,
) -> "Message":
    """Let CRIU carry out `request`, with its log in `log_file` of the work directory; return its response.

    descriptors  those that it inherits beside stdin, stdout and stderr
    started      called with CRIU's pid and the request before that is made

    Raises Error, with the path of the log and its errors, when CRIU is missing or fails.
    """
    path = f"{options.work}/{log_file}"
    opened: list[int] = []
    try:
        for name, directory in (("images_dir_fd", options.images), ("work_dir_fd", options.work)):
            opened.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            request[name] = opened[-1]
        request["log_file"] = log_file
        _remove(path)
        # A restore is given up as a whole.
        with Service(doing, descriptors, 0 if kind == rpc.RESTORE else _GRACE) as service:
            if started is not None:
                started(service.pid, request)
            try:
                return service.ask(kind, notified, opts=request)
            except Error as error:
                if error.doing == doing:
                    error.reason = f"{error.reason}, log file {path}"
                    error.log, error.log_of = _errors(path), "criu's log"
                raise
    except OSError as error:
        raise Error(doing, error.filename or "", errno=error.errno or 0) from None
    finally:
        for fd in opened:
            os.close(fd)


def _remove(path: str) -> None:
    """Remove the log of an earlier request: CRIU would write through a link, and the images may be a stranger's."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _errors(path: str) -> str:
    """Return the lines of CRIU's log that say what went wrong."""
    try:
        with open(path, errors="replace") as file:
            lines = [line.strip() for line in file if "Error" in line]
    except OSError:
        return ""
    return "\n".join(lines[-5:])
