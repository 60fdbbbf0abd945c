"""Removes a container's groups: those made for it and those that it made itself, no others."""

import errno
import time

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import walk as tree
from pyruntime.cgroup.files import CLAUSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from pyruntime.cgroup import kill

    class Groups(kill.Groups, Protocol):
        """The part of a container's groups (cgroup.py) that this module needs."""

        made: list[str]

        @property
        def directories(self) -> list[str]: ...


def remove(cgroup: "Groups", timeout: float) -> None:
    """Remove the directories `cgroup.made`; see Cgroup.remove. Raises Error."""
    leaves = cgroup.directories
    deadline = time.monotonic() + timeout
    for directory in reversed(cgroup.made):
        if directory not in leaves:
            # A parent that was made for this group; another container may use it now.
            try:
                os.rmdir(directory)
                if log.events is not None:
                    log.events.done(f"rmdir {directory}")
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
                    raise _failed(directory, error.errno or 0) from error
            continue
        try:
            pause = 0.00005
            while not tree.remove(directory):
                if time.monotonic() > deadline:
                    raise _failed(directory, errno.EBUSY)
                if not _wait(cgroup, directory, deadline):
                    # The group is empty, but the kernel has not completed the last exit; there is no event for that.
                    os.sched_yield()
                    time.sleep(pause)
                    pause = min(pause * 2, 0.005)
            if log.events is not None:
                log.events.done(f"rmdir {directory}")
        except OSError as error:
            raise _failed(directory, error.errno or 0) from error


def _wait(cgroup: "Groups", directory: str, deadline: float) -> bool:
    """Wait for processes in the group to end; return False if there are none."""
    if not tree.pids(directory):
        return False
    left = max(0.0, deadline - time.monotonic())
    if directory == cgroup.unified:
        pyruntime.cgroup.kill.wait_empty(cgroup, left)
    else:
        pyruntime.cgroup.kill.wait_for_all(lambda: tree.pids(directory), left)
    return True


def _failed(directory: str, number: int) -> Error:
    count = len(tree.pids(directory))
    return Error(
        f"cannot remove the cgroup {directory}",
        f"{count} process{'es are' if count != 1 else ' is'} still in it" if count else "",
        clause=CLAUSE,
        errno=number,
    )
