"""The files and directories of a cgroup filesystem (cgroups(7)): read, written and made as the kernel requires."""

import errno

from pyruntime.base import lean_os as os
from pyruntime.base import log

CLAUSE = "config-linux.md#control-groups"
UNIFIED = ""  # the unified hierarchy among the keys of `paths`
SIGKILL = 9  # the same on every Linux; importing `signal` takes longer than importing this module


def in_user_namespace() -> bool:
    """Tell whether this process lacks root's rights over cgroups: another user, or root of a user namespace."""
    return os.geteuid() != 0 or read_file("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def read_file(path: str) -> str:
    """Return a control file's text by one read, in which the kernel returns all of it. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536).decode()
    finally:
        os.close(fd)


def write_file(path: str, value: str) -> None:
    """Write a control file in one write, as the kernel requires. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
        if log.events is not None:
            log.events.done(f"write {value!r} to {path}")
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def missing_directories(mountpoint: str, path: str) -> list[str]:
    """Return the missing directories of a group and its parents below the mount point, parents first."""
    missing: list[str] = []
    while path and not os.access(mountpoint + path, os.F_OK):
        missing.append(mountpoint + path)
        path = path.rpartition("/")[0]
    missing.reverse()
    return missing


def make_directory(directory: str) -> bool:
    """Make a group; return False if it exists. Raises OSError.

    It tries again if the parent is missing, because the end of another container may remove that meanwhile.
    """
    for _ in range(100):
        try:
            os.mkdir(directory, 0o755)
            return True
        except FileExistsError:
            return False
        except FileNotFoundError:
            parent = directory.rpartition("/")[0]
            if not parent or os.access(parent, os.F_OK):
                raise
            make_directory(parent)
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
