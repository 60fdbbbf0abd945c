"""Walks a group and those below it by descriptors: a hostile container can nest them too deep for a path."""

import errno

from pyruntime.base import lean_os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def visit(directory: str, look: "Callable[[int], bool]") -> None:
    """Call `look` with a descriptor of the group and of each below it, parents first, until it returns True."""
    _walk(directory, look, recursive=True)


def pids(directory: str, *, recursive: bool = True) -> list[int]:
    """Return the pids in the group, and with `recursive` in those below it; [] if it is removed.

    Processes outside this pid namespace, which the kernel shows as 0, are left out. Raises OSError.
    """
    found: list[int] = []

    def collect(fd: int) -> bool:
        found.extend(_pids_of(fd))
        return False

    _walk(directory, collect, recursive=recursive)
    return found


def find(directory: str, pid: int) -> int:
    """Return a descriptor, owned by the caller, of the group at or below `directory` with process `pid`, or -1."""
    found = -1

    def look(fd: int) -> bool:
        nonlocal found
        if pid not in _numbers(fd, "cgroup.threads"):
            return False
        found = os.open(".", _FLAGS, dir_fd=fd)
        return True

    _walk(directory, look, recursive=True)
    return found


def remove(directory: str) -> bool:
    """Remove the group and all below it, children first; return False if a group is left because it has processes.

    Raises OSError for all failures but remaining processes. A group that is gone counts as removed.
    """
    try:
        os.rmdir(directory)  # in nearly all cases this is all
        return True
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
    _walk(directory, None, recursive=True, removing=True)
    return _rmdir(directory)


def _rmdir(name: str, parent: "int | None" = None) -> bool:
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _walk(directory: str, look: "Callable[[int], bool] | None", *, recursive: bool, removing: bool = False) -> None:
    """Visit the group and all below it with a descriptor each; with `removing` remove all but the group itself.

    It needs one descriptor for any depth, and goes up by "..": a directory of a cgroup filesystem cannot be moved.
    """
    try:
        fd = os.open(directory, _FLAGS)
    except FileNotFoundError:
        return
    names: list[str] = []  # the way down
    waiting: list[list[str]] = []  # on each level of it, the children still to visit
    try:
        arrived = True
        while True:
            if arrived:
                if look is not None and look(fd):
                    return
                waiting.append(_children(fd) if recursive else [])
            arrived = False
            while not waiting[-1]:
                waiting.pop()
                if not waiting:
                    return
                above = os.open("..", _FLAGS, dir_fd=fd)
                os.close(fd)
                fd = above
                name = names.pop()
                if removing:
                    _rmdir(name, fd)
            name = waiting[-1].pop()
            try:
                below = os.open(name, _FLAGS, dir_fd=fd)
            except FileNotFoundError:
                continue  # gone meanwhile
            os.close(fd)
            fd = below
            names.append(name)
            arrived = True
    finally:
        os.close(fd)


def _children(fd: int) -> list[str]:
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _pids_of(fd: int) -> list[int]:
    return [pid for pid in _numbers(fd, "cgroup.procs") if pid]


def _numbers(fd: int, name: str) -> list[int]:
    """Return the numbers in a file of the group with descriptor `fd`."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return []
    try:
        data = b""
        while chunk := os.read(file, 65536):
            data += chunk
    except OSError as error:
        # A threaded group has no list: its processes are in that of the group above. Or the group is removed.
        if error.errno not in (errno.EOPNOTSUPP, errno.ENODEV):
            raise
        return []
    finally:
        os.close(file)
    return [int(word) for word in data.split()]
