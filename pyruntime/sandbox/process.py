"""A program in a sandbox: its streams, its time, its end."""

import contextlib
import errno
import math
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal

from pyruntime.sandbox import container as containers
from pyruntime.sandbox.container import Answer, Container
from pyruntime.sandbox.program import Program
from pyruntime.sandbox.result import Result, SandboxError, Usage

Stream = Literal["stdout", "stderr"]

_CHUNK = 65536
_LINGER = 0.2  # seconds for output that is still in the pipes when the program has ended
_PATIENCE = 60.0
# Seconds for the first process to end a program that is to be killed. Programs of its user can hold it up: they may
# lower its priority (sched_setscheduler(2)), or take a lease on the file that it executes next (fcntl(2)).
_STUBBORN = 10.0


class Process:
    """A program that has been started in a sandbox. One thread at a time reads its streams.

    args  its words
    pid   its process id in the sandbox

    Of those who make one:

    env           variables of the sandbox
    output_limit  bytes
    alone         no other program runs in the container, which is killed if this program is to be killed
    last          the container ends with the program
    unlimited     limits that are not set
    owner         uid and gid on the host that may open the streams again
    interactive   stdin stays open
    inherit       the streams are those of this process
    """

    def __init__(
        self,
        container: Container,
        program: Program,
        env: "dict[str, str]",
        *,
        output_limit: int,
        alone: bool,
        last: bool,
        unlimited: "tuple[str, ...]",
        owner: "tuple[int, int] | None",
        interactive: bool = False,
        inherit: bool = False,
    ) -> None:
        self.args = tuple(program.args)
        self.pid = 0
        self._container = container
        self._limit = output_limit
        self._last, self._alone = last, alone
        self._unlimited = unlimited
        self._input = bytearray(program.input or b"")
        self._interactive = interactive
        self._output: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._read = 0
        self._streams: dict[int, Stream] = {}
        self._stdin = self._more = -1
        self._feeding = threading.Lock()
        self._exit: Answer | None = None
        self._truncated = self._timed_out = self._vanished = False
        self._killed = 0.0  # when it was to be killed
        self._began = time.monotonic()
        self._ended = 0.0
        self._result: Result | None = None
        # In a container in which no program has run, no process was killed.
        self._killed_before = 0 if alone else container.kills_for_memory()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._answers = ours
        given: list[int] = []
        try:
            if interactive:
                # Wakes the thread that waits for streams when another one writes.
                self._more = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            with theirs:
                given.append(containers.file_of(program.words(env)))
                if inherit:
                    given += [os.dup(stream) for stream in (0, 1, 2)]
                else:
                    given += self._open_streams(interactive or program.input is not None, owner)
                flags = containers.LAST if last else 0
                container.request(containers.SPAWN, (theirs.fileno(), *given), flags=flags, words=len(program.args))
        except BaseException:
            self._close()
            raise
        finally:
            for fd in given:
                os.close(fd)

    def _open_streams(self, stdin: bool, owner: "tuple[int, int] | None") -> "list[int]":
        """Make pipes, keep our ends, return the program's. They are the program's user's, who may open them again."""
        given: list[int] = []
        try:
            if not stdin:
                given.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            else:
                end, self._stdin = os.pipe2(os.O_CLOEXEC)
                given.append(end)
                os.set_blocking(self._stdin, False)
            names: tuple[Stream, Stream] = ("stdout", "stderr")
            for name in names:
                ours, end = os.pipe2(os.O_CLOEXEC)
                self._streams[ours] = name
                given.append(end)
                os.set_blocking(ours, False)
            if owner is not None:
                for fd in given[0 if stdin else 1 :]:
                    os.fchown(fd, *owner)
        except BaseException:
            for fd in given:
                os.close(fd)
            raise
        return given

    # ---- its streams ----

    def await_start(self) -> "Process":
        """Wait until the program runs. Raises FileNotFoundError and the like where it cannot be executed."""
        if not containers.wait_readable(self._answers.fileno(), _PATIENCE):
            self._container.kill()  # it would start later, and nobody would wait for its end
            raise SandboxError(f"the program was not started within {_PATIENCE:.0f} seconds")
        data, _ = containers.receive(self._answers)
        if not data:
            error = self._container.gone()
            self._close()
            raise error
        answer = Answer(data)
        if answer.status:
            self._close()
            words = "the limit of processes is reached" if answer.status == errno.EAGAIN else os.strerror(answer.status)
            raise OSError(answer.status, words, self.args[0])
        self.pid = answer.pid
        self._began = time.monotonic()
        return self

    def _step(self, deadline: float) -> "list[tuple[Stream, bytes]]":
        """Wait for something to happen, and return what was read. Kills the program where a limit is reached."""
        poll = select.poll()
        for fd in self._streams:
            poll.register(fd, select.POLLIN)
        stdin = self._stdin
        if self._more >= 0:
            poll.register(self._more, select.POLLIN)
        if stdin >= 0 and (self._input or not self._interactive):
            poll.register(stdin, select.POLLOUT)
        if self._exit is None and not self._vanished:
            poll.register(self._answers.fileno(), select.POLLIN)
        # Rounded up, so that the time is over when it is looked at again.
        ready = poll.poll(max(0, int((deadline - time.monotonic()) * 1000) + 1))
        chunks: list[tuple[Stream, bytes]] = []
        for fd, _ in ready:
            if fd == stdin:
                self._feed()
            elif fd == self._more:
                os.eventfd_read(fd)
            elif fd in self._streams:
                chunk = self._take(fd)
                if chunk:
                    chunks.append((chunk[0], chunk[1]))
            else:
                self._hear()
        return chunks

    def _feed(self, more: bytes = b"") -> None:
        """Write as much of its input as the pipe takes, and close it at the end."""
        with self._feeding:
            if self._stdin < 0:
                return
            self._input += more
            try:
                written = os.write(self._stdin, self._input[:_CHUNK]) if self._input else 0
            except BlockingIOError:
                return
            except OSError:  # it has closed its stdin
                written = len(self._input)
                self._interactive = False
            del self._input[:written]
            if not self._input and not self._interactive:
                os.close(self._stdin)
                self._stdin = -1

    def _take(self, fd: int) -> "tuple[Stream, bytes] | None":
        """Read a chunk; at the end of the stream close it. What is beyond the limit is not kept."""
        name = self._streams[fd]
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        if not chunk:
            os.close(fd)
            del self._streams[fd]
            return None
        room = self._limit - self._read
        if len(chunk) > room and not self._truncated:
            self._truncated = True
            self.kill()
        chunk = chunk[: max(0, room)]
        self._read += len(chunk)
        return (name, chunk) if chunk else None

    def _hear(self) -> None:
        data, _ = containers.receive(self._answers)
        if not data:
            self._vanished = True
        elif Answer(data).kind == containers.EXITED:
            self._exit = Answer(data)
        if self._vanished or self._exit:
            self._ended = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the program has not ended, by the agent's last message."""
        return self._exit is None and not self._vanished

    def stream(self, timeout: "float | None" = None) -> "Iterator[tuple[Stream, bytes]]":
        """Yield ("stdout" or "stderr", bytes) as they come, until the program has ended.

        timeout  seconds from its start after which it is killed

        What is yielded is not in the result.
        """
        deadline = math.inf if timeout is None else self._began + timeout
        while self.running:
            # Another thread may call `kill` meanwhile.
            yield from self._step(min(deadline, time.monotonic() + _STUBBORN))
            now = time.monotonic()
            if self.running and self._killed and now >= self._killed + _STUBBORN:
                self._container.kill()
            elif self.running and now >= deadline:
                self._time_over()
                deadline = math.inf
        yield from self._rest()

    def _time_over(self) -> None:
        if not self._timed_out:
            self._timed_out = True
            self.kill()

    def _rest(self) -> "Iterator[tuple[Stream, bytes]]":
        """Yield what is in the pipes when the program has ended; others may hold them open, who are not waited for."""
        if self._last and self.running is False:
            self._container.close()
        until = time.monotonic() + _LINGER
        while self._streams and not self._truncated and time.monotonic() < until:
            if self._last:
                until = time.monotonic() + _LINGER if self._streams else 0
            found = self._step(time.monotonic())
            yield from found
            if not found:
                break
        self._close_streams()

    def wait(self, timeout: "float | None" = None) -> Result:
        """Wait until the program has ended, and return how; with what it wrote and `stream` has not yielded.

        timeout  seconds from its start after which it is killed; the result says so
        """
        if self._result is None:
            for name, chunk in self.stream(timeout):
                self._output[name] += chunk
            self._result = self._make_result()
        return self._result

    def _make_result(self) -> Result:
        container = self._container
        answer, used = self._exit, {}
        if self._last:
            used = container.close()
            memory = used.get("oom_kills", 0) > 0
        else:
            memory = container.kills_for_memory() > self._killed_before
        killed = self._timed_out or self._truncated or memory
        if answer is None and not killed and (not container.await_end() or "failed" in container.report):
            raise container.gone()
        # Without an answer the first process has ended with the program: the kernel, or a process outside, killed all.
        status = answer.status if answer else 9
        code = os.waitstatus_to_exitcode(status)
        cpu = (answer.user + answer.system if answer else 0) / 1e6
        peak = answer.peak if answer else 0
        self._answers.close()
        return Result(
            args=self.args,
            returncode=code,
            stdout=bytes(self._output["stdout"]),
            stderr=bytes(self._output["stderr"]),
            truncated=self._truncated,
            timed_out=self._timed_out,
            oom_killed=memory,
            usage=Usage(used["cpu"] / 1e6 if "cpu" in used else cpu, used.get("memory", peak)),
            duration=(self._ended or time.monotonic()) - self._began,
            unlimited=self._unlimited,
        )

    # ---- input and signals ----

    def write(self, data: bytes) -> None:
        """Write to the stdin of an interactive program. What the pipe cannot take is sent while its output is read.

        Raises ValueError where its stdin is not open.
        """
        if self._stdin < 0 or not self._interactive:
            raise ValueError("data: this program has no stdin that is open; start it with interactive=True")
        self._feed(bytes(data))
        self._wake()

    def close_stdin(self) -> None:
        """Close the stdin of an interactive program when all is written."""
        self._interactive = False
        self._feed()
        self._wake()

    def _wake(self) -> None:
        """Let the thread that waits for the streams look again at what there is to be written."""
        with self._feeding:
            if self._more >= 0:
                os.eventfd_write(self._more, 1)

    def signal(self, number: int) -> None:
        """Send a signal to the program and its process group. One that has ended gets none."""
        if self.running and self.pid:
            with contextlib.suppress(SandboxError):
                self._container.request(containers.KILL, pid=self.pid, number=number)

    def kill(self) -> None:
        """Kill the program with all that it has started. Where the container is its own, that ends at once.

        In a session, `wait` and `stream` end the container if the program does not end within seconds.
        """
        self._killed = self._killed or time.monotonic()
        if self._alone:
            self._container.kill()
        else:
            self.signal(9)

    def _close_streams(self) -> None:
        with self._feeding:
            for fd in (*self._streams, self._stdin, self._more):
                if fd >= 0:
                    os.close(fd)
            self._streams.clear()
            self._stdin = self._more = -1

    def _close(self) -> None:
        self._close_streams()
        self._answers.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._close()
