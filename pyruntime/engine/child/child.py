"""A process as the host that made it holds it: its pid, a pidfd, and the socket to it."""

import select

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.plan.step import Step

_KILL = 9
_LAST_PATIENCE = 5000  # milliseconds for a killed process to end: one that is frozen does not
PATIENCE = 1000  # milliseconds after which the host looks whether it still makes sense to wait for a message

# What ends the wait for a process that does not get on, where signals are held back for it: SIGHUP, SIGINT, SIGQUIT,
# SIGTERM.
_IMPATIENT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14


class Child:
    """Init, or a process of exec, as the host holds it.

    pid, pidfd  0 and -1 until it exists
    sync        the socket to it
    steps       those that its events are about, by number; none without --debug and --trace
    late        the file by which it joins the group that limits its memory, once it is ready; "" for none
    crosses     it is another process that goes on from when it holds nothing of the host's: see pyr_cross
    alone       it is the intermediate process, which nobody in the container can see: it may ask for room
    """

    __slots__ = ("_cgroup", "_left", "alone", "crosses", "late", "pid", "pidfd", "steps", "sync")

    def __init__(self, sync: int, cgroup: "Cgroup") -> None:
        self.sync = sync
        self.pid = 0
        self.pidfd = -1
        self.late = ""
        self.steps: list[Step] = []
        self.crosses = False
        self.alone = False
        self._cgroup = cgroup
        self._left: list[str] = []  # groups that it is out of, to make room for the process that goes on

    def kill(self) -> None:
        """End the process, wait for its end, and let go of it. For a container that is given up."""
        if self.pidfd >= 0:
            lib.pyr_pidfd_send_signal(self.pidfd, _KILL)
        elif self.pid > 0:
            # Nobody has waited for it yet, so that the number is its own.
            os.kill(self.pid, _KILL)
        if self.pid > 0:
            if self.pidfd < 0 or ends(self.pidfd, _LAST_PATIENCE):
                reap(self.pid)
            self.pid = 0
        self.close()

    def join_late(self) -> None:
        """Move the process into the group that limits its memory, where that was put off. Raises Error."""
        if not self.late:
            return
        path, self.late = self.late, ""
        try:
            write_file(path, str(self.pid))
        except OSError as error:
            doing, clause = "cannot join the container's cgroup", "config-linux.md#control-groups"
            raise Error(doing, clause=clause, step=f"write({path})", errno=error.errno or 0) from None

    def make_room(self) -> None:
        """Take the process out of the groups in which there is no room for another one beside it. Raises Error."""
        from pyruntime.cgroup import room
        from pyruntime.host import cgroups

        self._left = room.leave(self._cgroup, self.pid, cgroups.detect())

    def follow(self, pid: int) -> None:
        """Wait for the end of the process, for which `pid` goes on, a child of this one.

        Raises Error if a signal asks to give up, and if `pid` is no such child: who may trace the process in the
        container may send this message in its name, and would have a process of the host killed.
        """
        self.alone = False
        # It has nothing left to do, unless it is frozen first.
        while self.pidfd >= 0 and not ends(self.pidfd, PATIENCE):
            number = signal_to_end()
            if number:
                raise Error("given up waiting for the container's process", f"signal {number} came")
        reap(self.pid)
        os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1
        if not _is_ours(pid):
            raise Error("the container's process failed", "its message makes no sense")
        self.pid, self.pidfd = pid, lib.pyr_pidfd_open(pid)
        if self.pidfd < 0:
            raise Error("cannot hold on to the container's process", step="pidfd_open", errno=-self.pidfd)
        if self._left:
            from pyruntime.cgroup import room

            room.enter(self._left, pid)

    def take_sync(self) -> int:
        """Return the socket, which is the caller's from now on."""
        sync, self.sync = self.sync, -1
        return sync

    def close(self) -> None:
        """Close the descriptors; the process goes on."""
        for fd in (self.sync, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.sync = self.pidfd = -1


def reap(pid: int) -> int:
    """Wait for child `pid` and return its wait status; 0 when it is not ours (any more)."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0


def _is_ours(pid: int) -> bool:
    """Tell whether a process is a child of this one, whose number is its own until it is waited for."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def ends(pidfd: int, milliseconds: int) -> bool:
    """Wait at most so long for the end of a process; tell whether it has come."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(os.call(poll.poll, milliseconds))


def signal_to_end() -> int:
    pending = lib.pyr_pending_signals() & _IMPATIENT
    return int(pending & -pending).bit_length()
