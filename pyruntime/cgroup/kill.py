"""Kills all processes of a container's groups, and waits for their end by events and pidfds."""

import errno
import select
import time

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.cgroup.files import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Groups(Protocol):
        """The part of a container's groups (cgroup.py) that this module needs."""

        paths: dict[str, str]

        @property
        def unified(self) -> str: ...
        @property
        def frozen(self) -> str: ...
        def freeze(self) -> None: ...
        def thaw(self) -> None: ...
        def let_die(self) -> bool: ...
        def pids(self) -> list[int]: ...


# More descriptors at a time could exceed the limit of open files; the other processes come in the next round.
_BATCH = 500


def kill_all(cgroup: "Groups", signal: int) -> None:
    """Send `signal` to every process; see Cgroup.kill_all."""
    if signal == SIGKILL and cgroup.unified and pyruntime.cgroup.v2.kill(cgroup.unified):
        # A process that was still joining when the runtime was killed may not be in the unified group.
        for pid in cgroup.pids():
            _send(pid, signal)
        cgroup.let_die()
        return
    if not cgroup.pids():
        return
    if signal == SIGKILL:
        # A freezer cannot freeze processes that the other one has frozen.
        cgroup.let_die()
    # Frozen processes cannot fork, so one list contains all of them.
    was_frozen = cgroup.frozen
    freezable = bool(cgroup.unified or "freezer" in cgroup.paths)
    if freezable and not was_frozen:
        cgroup.freeze()
    try:
        for pid in cgroup.pids():
            _send(pid, signal)
    finally:
        if freezable and (not was_frozen or signal == SIGKILL):
            cgroup.thaw()
        if signal == SIGKILL:
            cgroup.let_die()
    if not freezable and signal == SIGKILL:
        # Without a freezer a process may fork meanwhile: repeat until the list is empty.
        while pids := cgroup.pids():
            for pid in pids:
                _send(pid, signal)
            _wait_for(pids, 1.0)


def _send(pid: int, signal: int) -> None:
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        pass


def wait_empty(cgroup: "Groups", timeout: float) -> bool:
    """Wait at most `timeout` seconds until no process is left; return False if some are left."""
    deadline = time.monotonic() + timeout
    # By pidfds, because the kernel delays an event of cgroup.events until 10 ms after the one before.
    if not wait_for_all(cgroup.pids, timeout):
        return False
    if cgroup.unified:
        # Processes of other pid namespaces have no pid here, but must end, too.
        return pyruntime.cgroup.v2.wait_event(cgroup.unified, "populated", False, max(0.0, deadline - time.monotonic()))
    return True


def wait_for_all(pids: "Callable[[], list[int]]", timeout: float) -> bool:
    """Wait at most `timeout` seconds until the function `pids` returns no process."""
    deadline = time.monotonic() + timeout
    while found := pids():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        _wait_for(found[:_BATCH], left)
    return True


def _wait_for(pids: list[int], timeout: float) -> None:
    """Wait until one of the processes ends, at most `timeout` seconds; then the others are likely to have ended too."""
    fds: list[int] = []
    poll = select.poll()
    try:
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                return  # this one ended
            except OSError as error:
                if error.errno == errno.EMFILE and fds:
                    break
                raise
            fds.append(fd)
            poll.register(fd, select.POLLIN)
        os.call(poll.poll, timeout * 1000)
    finally:
        for fd in fds:
            os.close(fd)
