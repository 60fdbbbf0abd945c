"""The file of --pid-file: the pid of the new process, for the caller."""

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error


def write_pid_file(path: str, pid: int) -> None:
    """Write `pid` to `path` so that a reader sees all of it or nothing. Raises Error."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)
        try:
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Error(f"cannot write the pid file {path}", errno=error.errno or 0) from None
    if log.events is not None:
        log.events.done(f"write the pid to {path}")
