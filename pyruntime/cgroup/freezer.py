"""Freezes and thaws all groups that a container can reach: its own groups, and those that it made below them.

A container that may write to its groups can freeze itself, at any depth, in both versions. A process frozen by v1 does
not even receive SIGKILL (cgroup-v1/freezer-subsystem.rst); with v2 it does (cgroup-v2.rst).

The status that `state` and `list` show comes from `pyruntime/store/container.py`, which asks here if there are groups
below the container's own.
"""

import errno

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup import v1, v2, walk
from pyruntime.cgroup.files import CLAUSE

UNIFIED, V1 = "", "freezer"  # among the keys of a container's `paths`
_FILE = {UNIFIED: "cgroup.freeze", V1: "freezer.state"}
_THAWED = {UNIFIED: b"0", V1: b"THAWED"}
_THREADS = {UNIFIED: "cgroup.threads", V1: "tasks"}
_OPEN = os.O_RDONLY | os.O_CLOEXEC
_UP = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def frozen(paths: "dict[str, str]") -> str:
    """Return which of the container's own groups is frozen, by this runtime or by another process; "" for none.

    paths  the container's groups: controller -> directory
    """
    if paths.get(UNIFIED) and v2.frozen(paths[UNIFIED]):
        return paths[UNIFIED]
    return paths[V1] if V1 in paths and v1.frozen(paths[V1]) else ""


def freeze(paths: "dict[str, str]") -> None:
    """Freeze all processes of the groups and wait until they are frozen. Raises Error if that takes over 10 s."""
    unified = paths.get(UNIFIED, "")
    if unified and os.access(unified + "/cgroup.freeze", os.F_OK):
        # Also on a hybrid host: v2's freezer has an event when it is done, and does not block SIGKILL.
        v2.freeze(unified)
    elif V1 in paths:
        v1.freeze(paths[V1])
    else:
        raise Error("cannot freeze the container", "the host has no freezer", clause=CLAUSE)


def thaw(paths: "dict[str, str]") -> None:
    """Undo freeze() in either freezer."""
    if paths.get(UNIFIED):
        v2.thaw(paths[UNIFIED])
    if V1 in paths:
        v1.thaw(paths[V1])


def holds(paths: "dict[str, str]", pid: int) -> bool:
    """Tell whether process `pid` is frozen by a group of the container.

    paths  the container's groups: controller -> directory

    This is cheap unless the container has made groups of its own: then these are searched.
    """
    for version in _FILE:
        directory = paths.get(version)
        if directory and (_own(directory, version) or _below(directory, version, pid)):
            return True
    return False


def thaw_for(paths: "dict[str, str]", pid: int) -> None:
    """Thaw the groups below the container's that freeze process `pid`; other groups stay frozen."""
    for version in _FILE:
        directory = paths.get(version)
        if directory:
            _below(directory, version, pid, thaw=True)


def let_die(paths: "dict[str, str]") -> bool:
    """Thaw v1's freezer in the container's group and below, so that SIGKILL can take effect.

    Returns whether something was frozen.
    """
    directory = paths.get(V1)
    if not directory:
        return False
    frozen = _own(directory, V1)
    if not frozen and not _has_groups(directory):
        return False

    def thaw(fd: int) -> bool:
        nonlocal frozen
        if _is_frozen(fd, V1):
            frozen = True
            _thaw(fd, V1)
        return False

    walk.visit(directory, thaw)
    return frozen


def _own(directory: str, version: str) -> bool:
    groups = (directory, "") if version == UNIFIED else ("", directory)
    return bool(lib.pyr_freezers(*map(os.fsencode, groups)) & lib.PYR_FROZEN)


def _has_groups(directory: str) -> bool:
    """Tell whether there are groups below: a directory has a link for each, besides "." and its name."""
    try:
        return os.stat(directory).st_nlink > 2
    except OSError:
        return False


def _below(directory: str, version: str, pid: int, *, thaw: bool = False) -> bool:
    """Tell whether a group below `directory` has the main thread of process `pid` and is frozen."""
    if not _has_groups(directory):
        return False
    frozen = False

    def look(fd: int) -> bool:
        nonlocal frozen
        if pid not in _numbers(fd, _THREADS[version]):
            return False
        frozen = _is_frozen(fd, version)
        if frozen and thaw:
            _thaw_upwards(fd, version, directory)
        return True

    walk.visit(directory, look)
    return frozen


def _is_frozen(fd: int, version: str) -> bool:
    """Tell whether freezing was requested for the group or for one above it."""
    if _read(fd, _FILE[version]).strip() != _THAWED[version]:
        return True
    return version == UNIFIED and b"frozen 1" in _read(fd, "cgroup.events").split(b"\n")


def _thaw_upwards(fd: int, version: str, top: str) -> None:
    """Thaw the group and those above it up to `top`."""
    last = os.stat(top)
    here = os.open(".", _UP, dir_fd=fd)
    try:
        while True:
            _thaw(here, version)
            status = os.fstat(here)
            if (status.st_dev, status.st_ino) == (last.st_dev, last.st_ino):
                return
            above = os.open("..", _UP, dir_fd=here)
            os.close(here)
            here = above
    finally:
        os.close(here)


def _thaw(fd: int, version: str) -> None:
    try:
        file = os.open(_FILE[version], os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return  # gone
    try:
        os.write(file, _THAWED[version])
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
    finally:
        os.close(file)


def _numbers(fd: int, name: str) -> "set[int]":
    return {int(word) for word in _read(fd, name).split()}


def _read(fd: int, name: str) -> bytes:
    """Return the content of a file of the group; if the group is gone, the content of a thawed and empty one."""
    content = b""
    try:
        file = os.open(name, _OPEN, dir_fd=fd)
    except OSError:
        return _THAWED[V1] if name == _FILE[V1] else _THAWED[UNIFIED] if name == _FILE[UNIFIED] else b""
    try:
        while chunk := os.read(file, 65536):
            content += chunk
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(file)
    return content
