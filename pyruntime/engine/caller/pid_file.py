"""The file of --pid-file: the pid of the new process, for the caller."""

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.base.undo import Undo


def write_pid_file(path: str, pid: int, undo: "Undo") -> None:
    """Write `pid` to `path` so that a reader sees all of it or nothing; `undo` removes it.

    Raises Error, also if `path` exists and is no regular file: writing would replace a device of the host.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        if not _may_replace(path):
            raise Error(f"cannot write the pid file {path}", "what is there is not a regular file")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                os.write(fd, str(pid).encode())
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise pyruntime.store.unwritable.unwritable("write the pid file", path, error) from None
    undo.push(remove_pid_file, path)
    if log.events is not None:
        log.events.done(f"write the pid to {path}")


def remove_pid_file(path: str) -> None:
    """Remove the pid file of a process that could not be made: the kernel may give its pid to another one."""
    try:
        os.unlink(path)
    except OSError as error:
        log.warning(f"cannot remove the pid file: {error}")


def _may_replace(path: str) -> bool:
    """Tell whether `path` is not there, is a regular file, or is a link to one of these. Raises OSError."""
    try:
        return os.stat(path).st_mode & 0o170000 == 0o100000  # S_ISREG of inode(7)
    except FileNotFoundError:
        return True
