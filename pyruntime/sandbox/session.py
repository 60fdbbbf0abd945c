"""A session: a container in which many programs run, one after the other or at once, and files go in and out."""

import errno
import os
import socket
import stat
from collections.abc import Iterable
from types import TracebackType

from pyruntime.sandbox import arguments
from pyruntime.sandbox import container as containers
from pyruntime.sandbox.container import Answer, Container
from pyruntime.sandbox.maker import Maker
from pyruntime.sandbox.process import Process
from pyruntime.sandbox.program import Program
from pyruntime.sandbox.result import Result, SandboxError

_PATIENCE = 60.0
MOST_READ = 64 << 20
MOST_NAMES = 10_000


class Session:
    """One container of a sandbox. Its programs share the workspace, and can disturb each other.

    To be closed, or used with `with`. Safe for threads.
    """

    def __init__(self, maker: Maker, container: Container) -> None:
        self._maker = maker
        self._container = container

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        try:
            self.close()
        except SandboxError:
            # An exception of the block is more important to the caller.
            if error is None:
                raise

    def close(self) -> None:
        """End every program, and remove the container. Raises SandboxError where something of it may be left."""
        self._container.close()

    @property
    def closed(self) -> bool:
        """Whether the container has ended."""
        return self._container.ended

    # ---- programs ----

    def start(
        self,
        args: "Iterable[str]",
        *,
        input: "bytes | str | None" = None,
        env: "dict[str, str] | None" = None,
        cwd: "str | None" = None,
        interactive: bool = False,
    ) -> Process:
        """Start a program, and return it while it runs.

        args         the program and its arguments
        input        what it finds on its stdin; None: nothing
        env          variables besides those of the sandbox
        cwd          its directory; the workspace by default
        interactive  its stdin stays open, for Process.write

        Raises FileNotFoundError, PermissionError and the like where it cannot be executed; ValueError for invalid
        arguments; SandboxError where the container has ended.
        """
        program = Program.checked(args, input, env, cwd)
        return self._maker._start(self._container, program, interactive=interactive).await_start()

    def exec(
        self,
        args: "Iterable[str]",
        *,
        input: "bytes | str | None" = None,
        timeout: "float | None" = None,
        env: "dict[str, str] | None" = None,
        cwd: "str | None" = None,
    ) -> Result:
        """Run a program to its end. As `start`; `timeout` is in seconds.

        A program that cannot be ended otherwise ends the container with it.
        """
        arguments.seconds("timeout", timeout)
        process = self.start(args, input=input, env=env, cwd=cwd)
        try:
            return process.wait(timeout)
        except BaseException:
            process.kill()
            raise

    # ---- files ----

    def _open(self, path: str, flags: int, mode: int = 0, *, parents: bool = False) -> int:
        """Return a descriptor of a file below the workspace, opened by the agent and never through a link."""
        name = relative("path", path)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                request = containers.file_of(os.fsencode(name))
                try:
                    self._container.request(
                        containers.OPEN,
                        (theirs.fileno(), request),
                        flags=containers.PARENTS if parents else 0,
                        number=flags,
                        mode=mode,
                    )
                finally:
                    os.close(request)
            if not containers.wait_readable(ours.fileno(), _PATIENCE):
                raise SandboxError(f"{path!r:.200} was not opened within {_PATIENCE:.0f} seconds")
            data, fds = containers.receive(ours)
        if not data:
            raise self._container.gone()
        answer = Answer(data)
        if answer.status or not fds:
            number = answer.status or errno.EIO
            words = {
                errno.ELOOP: "a link is on the way",
                errno.EXDEV: "the way leads out of the workspace",
                errno.ENXIO: "it is a FIFO or a socket",
                errno.EWOULDBLOCK: "a program holds a lease on it",
            }.get(number, os.strerror(number))
            raise OSError(number, words, path)
        return fds[0]

    def read(self, path: "str | os.PathLike[str]", limit: "int | str" = MOST_READ) -> bytes:
        """Return the content of a file below the workspace.

        limit  bytes that it may have at most

        Only a plain file is read, and no link is followed. Raises OSError; one that is larger than `limit` is one.
        """
        most = arguments.size("limit", limit, 0)
        name = os.fspath(path)
        fd = self._open(name, os.O_RDONLY)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a plain file", name)
            if status.st_size > most:
                raise OSError(errno.EFBIG, f"it has more than {most} bytes", name)
            pieces, left = [], most + 1
            while left and (piece := os.read(fd, min(left, 1 << 20))):
                pieces.append(piece)
                left -= len(piece)
            if not left:
                raise OSError(errno.EFBIG, f"it has more than {most} bytes", name)
        finally:
            os.close(fd)
        return b"".join(pieces)

    def write(self, path: "str | os.PathLike[str]", data: "bytes | str", mode: int = 0o644) -> None:
        """Write a file below the workspace; missing directories are made. Raises OSError."""
        name = os.fspath(path)
        content = data.encode() if isinstance(data, str) else bytes(data)
        fd = self._open(name, os.O_WRONLY | os.O_CREAT, mode, parents=True)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "it is not a plain file", name)
            os.ftruncate(fd, 0)
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)

    def list(self, path: "str | os.PathLike[str]" = ".", limit: int = MOST_NAMES) -> "list[str]":
        """Return the names in a directory below the workspace, sorted. Raises OSError; for more than `limit`, too."""
        name = os.fspath(path)
        fd = self._open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = []
            with os.scandir(fd) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > limit:
                        raise OSError(errno.E2BIG, f"there are more than {limit} names", name)
            return sorted(names)
        finally:
            os.close(fd)


def relative(name: str, value: object) -> str:
    """Return a path below the workspace. Raises ValueError."""
    path = arguments.text(name, value)
    if path.startswith("/work/"):
        path = path[len("/work/") :]
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{name}: expected a path below the workspace, not {path!r:.200}")
    return path
