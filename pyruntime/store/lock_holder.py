"""Records which process holds a container's lock, so that `delete --force` can end it while it waits for hooks."""

import select

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.store import process

NOTE = "holder"
_KILL = 9
_PATIENCE = 10.0  # seconds for a killed process to end


def note(directory: int) -> None:
    """Record this process in the container's directory (a descriptor) as the holder of the lock."""
    pid = os.getpid()
    fd = os.open(NOTE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        os.write(fd, f"{pid} {process.start_time(pid)}".encode())
    finally:
        os.close(fd)


def forget(directory: int) -> None:
    """Remove the record, unless it is gone with the directory, or the filesystem cannot be written any more.

    A record of a process that has ended does no harm.
    """
    try:
        os.unlink(NOTE, dir_fd=directory)
    except OSError:
        pass


def evict(directory: int) -> None:
    """Kill the recorded process and its descendants: its hooks, and an init that is not complete yet.

    Does nothing if no process is recorded, or if it has ended by itself.
    """
    pid, started = _noted(directory)
    pidfd = lib.pyr_pidfd_open(pid) if pid else -1
    if pidfd < 0:
        return
    try:
        # Checked after the pidfd is opened, so that no other process can have this pid.
        if not process.alive(pid, started):
            return
        descendants = _descendants(pid)
        lib.pyr_pidfd_send_signal(pidfd, _KILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        os.call(poll.poll, _PATIENCE * 1000)
    finally:
        os.close(pidfd)
    for child, born in descendants:
        if process.alive(child, born):
            _end(child)


def _noted(directory: int) -> "tuple[int, int]":
    """Return pid and start time of the recorded process; 0 and 0 without a record, or with an incomplete one."""
    try:
        fd = os.open(NOTE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return 0, 0
    try:
        words = os.read(fd, 64).split()
    finally:
        os.close(fd)
    return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)


def _descendants(pid: int) -> "list[tuple[int, int]]":
    """Return pid and start time of all descendants of `pid`."""
    found: list[tuple[int, int]] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            with open(f"/proc/{parent}/task/{parent}/children", "rb") as file:
                children = [int(word) for word in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has ended, or the kernel has no such file
        found += [(child, process.start_time(child)) for child in children]
        waiting += children
    return found


def _end(pid: int) -> None:
    """Kill a process, with its group if it leads one, as each hook does."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, _KILL)
        except ProcessLookupError:
            pass
