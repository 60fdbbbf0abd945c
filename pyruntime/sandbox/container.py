"""One container of a sandbox on the caller's side: the program that runs it, and the agent inside (csrc/sandbox)."""

import array
import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

from pyruntime.sandbox import place
from pyruntime.sandbox.result import SandboxError

# struct request and struct answer of csrc/sandbox/agent.c.
_REQUEST = struct.Struct("=IIiiII")
_ANSWER = struct.Struct("=IiiIQQQ")
SPAWN, OPEN, KILL, WATCH = 1, 2, 3, 4
STARTED, EXITED, OPENED = 1, 2, 3
LAST, PARENTS = 1, 2

_PATIENCE = 60.0  # seconds; it takes milliseconds on a machine that is not busy
_APART = 10  # the lowest descriptor that does not get in the way of those that the program is given


class Answer:
    """What the agent answered."""

    __slots__ = ("kind", "peak", "pid", "status", "system", "user")

    def __init__(self, data: bytes) -> None:
        self.kind, self.pid, self.status, _, self.user, self.system, self.peak = _ANSWER.unpack(data)


class Refused(SandboxError):
    """The runtime refused to make the container; `pointer` and `clause` are those of its Error."""

    def __init__(self, text: str, pointer: str, clause: str) -> None:
        super().__init__(text)
        self.pointer = pointer
        self.clause = clause

    @property
    def about_limits(self) -> bool:
        """Whether limits, or the cgroup for them, are the reason."""
        return "control-groups" in self.clause or self.pointer.startswith(("/linux/resources", "/linux/cgroupsPath"))


def file_of(data: bytes) -> int:
    """Return the descriptor of a file in memory that holds `data`."""
    fd = os.memfd_create("pyruntime-request", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def receive(sock: socket.socket, size: int = 65536) -> "tuple[bytes, list[int]]":
    """Return one message and its descriptors; b"" at the end."""
    number = array.array("i")
    try:
        data, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(4 * 4), socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            number.frombytes(content[: len(content) - len(content) % number.itemsize])
    return data, list(number)


def wait_readable(fd: int, seconds: float) -> bool:
    """Wait until something can be read, at most so long."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, int(seconds * 1000))))


def _apart(sock: socket.socket) -> int:
    """Return a descriptor of the socket out of the way of 0 to 9; closes the socket."""
    with sock:
        return fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, _APART)


class Container:
    """A container that has been started, perhaps not completely yet: the program's report is read when needed.

    Safe for threads. `close` ends it; nothing of it is left then.
    """

    def __init__(self, bundle: Path, *, systemd: bool = False) -> None:
        self.root = place.directory() / "containers"
        self.name = place.new_name()
        self.owner = os.getpid()
        self.report: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._reaped = False
        self._pidfd = self._memory = -1
        agent, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        report, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._agent, self._report = agent, report
        given: list[int] = []
        try:
            given += [_apart(inside), _apart(told)]
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            given.append(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, _APART))
            os.close(null)
            command = [place.program(), "--root", str(self.root)]
            if systemd:
                command.append("--systemd-cgroup")
            command += ["run", "--bundle", str(bundle), "--preserve-fds", "1", "--report-fd", "4", self.name]
            self.pid = os.posix_spawn(
                command[0],
                command,
                place.environment(),
                file_actions=[
                    *((os.POSIX_SPAWN_DUP2, given[2], stream) for stream in (0, 1, 2)),
                    (os.POSIX_SPAWN_DUP2, given[0], 3),
                    (os.POSIX_SPAWN_DUP2, given[1], 4),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[number for number in signal.valid_signals() if number not in _UNCHANGEABLE],
            )
        except BaseException as error:
            agent.close()
            report.close()
            self._closed = True
            if isinstance(error, OSError):
                raise SandboxError(f"cannot start pyruntime: {error}") from error
            raise
        finally:
            for fd in given:
                os.close(fd)
        # So that it ends with this process, even where a child of it has a copy of the socket.
        watched = os.pidfd_open(os.getpid())
        try:
            self.request(WATCH, (watched,))
        finally:
            os.close(watched)

    # ---- the program's report ----

    def _read_report(self, seconds: float, until: str) -> bool:
        """Read the program's report up to the event `until`, or to its end; return False if the time is over."""
        deadline = time.monotonic() + seconds
        while until not in self.report and "gone" not in self.report:
            if not wait_readable(self._report.fileno(), deadline - time.monotonic()):
                return False
            data, fds = receive(self._report)
            if not data:
                self.report["gone"] = True
                break
            message = json.loads(data)
            self.report[message["event"]] = message
            if message["event"] == "started" and fds:
                self._pidfd = fds.pop(0)
            elif message["event"] == "memory" and fds:
                self._memory = fds.pop(0)
            for fd in fds:
                os.close(fd)
        return True

    def await_start(self) -> None:
        """Wait until the container runs. Raises SandboxError with the runtime's message."""
        with self._lock:
            in_time = self._read_report(_PATIENCE, "started")
            failed = self.report.get("failed")
            if "started" in self.report:
                return
        self.close()
        if failed:
            raise Refused(failed["error"], failed["pointer"], failed["clause"])
        if not in_time:
            raise SandboxError(f"the container was not there after {_PATIENCE:.0f} seconds")
        raise SandboxError("pyruntime ended without a word: it was killed, or this machine has too little memory")

    def kills_for_memory(self) -> int:
        """Return how many processes of it the kernel has killed for lack of memory; 0 if no cgroup counts them."""
        with self._lock:
            if self._memory < 0 and "memory" not in self.report and not self._closed:
                self._read_report(0, "memory")
            if self._memory < 0:
                return 0
            try:
                text = os.pread(self._memory, 4096, 0)
            except OSError:
                return 0
        for line in text.splitlines():
            name, _, value = line.partition(b" ")
            if name == b"oom_kill":
                return int(value)
        return 0

    # ---- what the agent does ----

    def request(
        self,
        kind: int,
        fds: "tuple[int, ...]" = (),
        *,
        flags: int = 0,
        pid: int = 0,
        number: int = 0,
        mode: int = 0,
        words: int = 0,
    ) -> None:
        """Send a request. Raises SandboxError where the container has ended."""
        message = _REQUEST.pack(kind, flags, pid, number, mode, words)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            with self._lock:
                if self._closed:
                    raise SandboxError("the sandbox is closed")
                self._agent.sendmsg([message], rights, socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise self.gone() from None
            raise SandboxError(f"cannot reach the sandbox: {error}") from error

    def gone(self) -> SandboxError:
        """Return why the container is not there: the runtime's own failure, or that it has ended."""
        with self._lock:
            if not self._closed:
                self._read_report(5.0, "started")
            failed = self.report.get("failed")
        if failed:
            return Refused(failed["error"], failed["pointer"], failed["clause"])
        return SandboxError("the sandbox has ended")

    @property
    def ended(self) -> bool:
        """Whether the container has been closed, or its first process has ended."""
        with self._lock:
            return self._closed or "gone" in self.report or (self._pidfd >= 0 and wait_readable(self._pidfd, 0))

    def await_end(self) -> bool:
        """Wait until the container's first process has ended, which closes its descriptors before; False in vain."""
        with self._lock:
            return self._closed or self._pidfd < 0 or wait_readable(self._pidfd, _PATIENCE)

    def kill(self) -> None:
        """End every process of the container now, whatever state it is in."""
        with self._lock:
            if self._closed or not self._read_report(_PATIENCE, "started") or self._pidfd < 0:
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    # ---- the end ----

    def close(self) -> "dict[str, int]":
        """End the container, wait until nothing of it is left, and return what it used.

        Raises SandboxError where it could not be deleted.
        """
        with self._lock:
            if self._closed:
                return dict(self.report.get("ended", {}).get("usage", {}))
            if self.owner != os.getpid():
                # A child of fork(2) of the process whose it is.
                self._close_descriptors()
                return {}
            # Before the agent ends, because systemd removes the group of a container with its last process.
            kills = self.kills_for_memory()
            # The agent ends when this is closed; the kernel kills the other processes.
            with contextlib.suppress(OSError):
                self._agent.shutdown(socket.SHUT_RDWR)
            self._agent.close()
            if not self._read_report(2.0, "ended"):
                if self._pidfd >= 0:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                if not self._read_report(_PATIENCE, "ended"):
                    self._kill_program()
            self._reap()
            left = "ended" not in self.report and "failed" not in self.report
            if left and self._pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._close_descriptors()
        if left:
            # The program was killed before it could delete the container.
            place.delete(self.root, self.name)
        failed = self.report.get("failed")
        if failed and "started" in self.report:
            raise SandboxError(failed["error"])
        used = self.report.get("ended", {}).get("usage", {})
        if kills > used.get("oom_kills", 0):
            used["oom_kills"] = kills
        return dict(used)

    def _close_descriptors(self) -> None:
        self._closed = True
        self._agent.close()
        self._report.close()
        for fd in (self._pidfd, self._memory):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._memory = -1

    def _kill_program(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._read_report(5.0, "ended")

    def _reap(self) -> None:
        """Wait for the program, unless this process already has: in a handler of SIGCHLD, or by ignoring it."""
        if not self._reaped:
            self._reaped = True
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


_UNCHANGEABLE = (signal.SIGKILL, signal.SIGSTOP)
