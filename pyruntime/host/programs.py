"""Programs of the host that the runtime calls by name: newuidmap(1), newgidmap(1), criu(8), mount(8), umount(8), ps(1).

They come from the directories of the caller's PATH, which is as trusted as the caller: whoever can write to one of
these directories can act as the caller. Entries that are not absolute are left out: they would name another directory
in each working directory, for example in a bundle, which can come from somebody else.
"""

import select

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

_USUAL = "/bin:/usr/bin"  # without PATH, as with execvp(3)
_PATIENCE = 1000  # milliseconds after which a wait looks for signals
_OUTPUT_LIMIT = 4096  # bytes
_KILL = 9


def find(name: str) -> str:
    """Return the path of the program `name`, "" if no directory of PATH has it."""
    for directory in os.environ.get("PATH", _USUAL).split(":"):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def need(name: str) -> str:
    """Return the path of the program `name`. Raises Error if no directory of PATH has it."""
    path = find(name)
    if not path:
        raise Error(f"cannot run {name}", "no absolute directory of $PATH has it", advice=f"install {name}")
    return path


def run(path: str, arguments: "list[str]") -> "tuple[int, str]":
    """Run a program to its end; return its exit status (negative: the signal that ended it), and what it said.

    Whoever holds its output open is not waited for. Raises Error if it cannot be executed, and after it has killed the
    program: because that says too much, or because a signal that is blocked asks to give up.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            pid = _spawn(path, arguments, writer)
        finally:
            os.close(writer)
        pidfd = lib.pyr_pidfd_open(pid)
        try:
            said = _hear(path, pidfd, reader)
        except Error:
            os.killpg(pid, _KILL)
            raise
        finally:
            os.close(pidfd)
            status = os.waitpid(pid, 0)[1]
    finally:
        os.close(reader)
    return os.waitstatus_to_exitcode(status), said.decode(errors="replace").strip()


def _spawn(path: str, arguments: "list[str]", writer: int) -> int:
    try:
        return os.posix_spawn(
            path,
            [path, *arguments],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writer, 1),
                (os.POSIX_SPAWN_DUP2, writer, 2),
            ],
            setpgroup=0,  # so that its children are killed with it
            setsigmask=[],
            setsigdef=range(1, 32),
        )
    except OSError as error:
        raise Error(f"cannot execute {path}", errno=error.errno or 0) from None


def _hear(path: str, pidfd: int, reader: int) -> bytes:
    """Return what the process says until it ends, or has said too much. Raises Error on a signal."""
    said = b""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(reader, select.POLLIN)
    while True:
        ready = {fd for fd, _ in os.call(poll.poll, _PATIENCE)}
        if reader in ready:
            chunk = os.read(reader, _OUTPUT_LIMIT - len(said))
            said += chunk
            if not chunk:
                poll.unregister(reader)
            elif len(said) == _OUTPUT_LIMIT:
                reason = "it said more than anybody would read"
                raise Error(f"{path} was killed", reason, log=said.decode(errors="replace"), log_of="its output")
        if pidfd in ready:
            return said
        number = lib.pyr_signal_to_end()
        if number:
            raise Error(f"{path} was killed", f"signal {number} came")
