"""What only cgroup v1 needs: cpuset groups filled from their parents, and a freezer that must be polled."""

import errno
import time

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import read_file, write_file

_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")

# How long the freezer may take; runc has about the same limit.
_FREEZE_SECONDS = 10.0


def inherit_cpuset(directory: str, mountpoint: str) -> None:
    """Fill empty cpuset.cpus and cpuset.mems of a group and its parents, each from its parent.

    A new v1 cpuset group has neither CPUs nor memory nodes, and no process can join it until it has both
    (cgroup-v1/cpusets.rst). Raises OSError.
    """
    for file in _CPUSET_FILES:
        _filled(directory, mountpoint, file)


def _filled(directory: str, mountpoint: str, file: str) -> str:
    """Return the file's value; fill the file first if it is empty."""
    path = f"{directory}/{file}"
    value = read_file(path).strip()
    if not value and directory != mountpoint:
        value = _filled(directory.rpartition("/")[0], mountpoint, file)
        write_file(path, value)
    return value


def frozen(directory: str) -> bool:
    """Tell whether the group or a group above it is frozen or freezing; False if it is removed."""
    try:
        return read_file(directory + "/freezer.state").strip() != "THAWED"
    except FileNotFoundError:
        return False


def freeze(directory: str) -> None:
    """Freeze all processes of the group and wait until they are frozen. Raises Error if that takes over 10 s.

    The kernel has no event for it, so the state is polled: first at once, then after yielding the processor, then after
    longer and longer waits, from 10 µs to 5 ms. A process in vfork can keep the state at FREEZING: thawing it for a
    moment lets it leave vfork (cgroup-v1/freezer-subsystem.rst).
    """
    path = directory + "/freezer.state"
    deadline = time.monotonic() + _FREEZE_SECONDS
    pause = 0.00001
    rounds = 0
    while True:
        write_file(path, "FROZEN")
        if read_file(path).strip() == "FROZEN":
            return
        if time.monotonic() > deadline:
            write_file(path, "THAWED")
            raise Error(
                "cannot freeze the container",
                f"{path} stays at FREEZING: a process does not react",
                clause="config-linux.md#control-groups",
                errno=errno.EBUSY,
            )
        rounds += 1
        if rounds % 25 == 0:
            write_file(path, "THAWED")
        os.sched_yield()
        time.sleep(pause)
        pause = min(pause * 2, 0.005)


def thaw(directory: str) -> None:
    """Thaw the group; do nothing if it is removed. Raises OSError."""
    try:
        write_file(directory + "/freezer.state", "THAWED")
    except FileNotFoundError:
        pass
