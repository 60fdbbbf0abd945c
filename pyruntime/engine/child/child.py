"""A process that the host has made: its pid, a pidfd, and the socket to it."""

import errno
import select

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import write_file
from pyruntime.protocol import messages
from pyruntime.store import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.cgroup.room import Loan
    from pyruntime.plan.step import Step

_KILL = 9
_LAST_PATIENCE = 5000  # milliseconds in which a killed process ends, unless it is frozen
PATIENCE = 1000  # milliseconds after which the host checks whether a message can still come


class Child:
    """Init, or a process of exec, on the host's side.

    pid, pidfd  0 and -1 until it exists
    sync        the socket to it
    steps       the steps of its events, by number; empty without --debug and --trace
    late        the file by which it joins the group that limits its memory when it is ready; "" for none
    crosses     another process continues its work when it has no resource of the host any more: see pyr_cross
    alone       it is the intermediate process, which no process of the container can see: only its messages are
                accepted, and it may ask for room
    held        this process traces it, and a signal would stop it
    """

    __slots__ = ("_cgroup", "_loan", "alone", "crosses", "held", "late", "pid", "pidfd", "steps", "sync")

    def __init__(self, sync: int, cgroup: "Cgroup") -> None:
        self.sync = sync
        self.pid = 0
        self.pidfd = -1
        self.late = ""
        self.steps: list[Step] = []
        self.crosses = False
        self.held = False
        self.alone = False
        self._cgroup = cgroup
        self._loan: Loan | None = None  # the container's raised limit, until the intermediate process has ended

    def kill(self) -> None:
        """Kill the process, wait for it, and close its descriptors. For a container that could not be made."""
        if self.pidfd >= 0:
            lib.pyr_pidfd_send_signal(self.pidfd, _KILL)
        elif self.pid > 0:
            # It has not been waited for, so the pid is still its own.
            os.kill(self.pid, _KILL)
        if self.pid > 0:
            if self.pidfd < 0 or ends(self.pidfd, _LAST_PATIENCE):
                reap(self.pid)
            self.pid = 0
        self.close()

    def join_late(self) -> None:
        """Move the process into the group that limits its memory, if that was postponed. Raises Error."""
        if not self.late:
            return
        path, self.late = self.late, ""
        try:
            write_file(path, str(self.pid))
        except OSError as error:
            doing, clause = "cannot join the container's cgroup", "config-linux.md#control-groups"
            raise Error(doing, clause=clause, step=f"write({path})", errno=error.errno or 0) from None

    def hold_next(self) -> bool:
        """Hold the process that the intermediate process makes at its first instruction; return whether that works.

        What a fork needs of memory is the group's in which it is done. So the process is made outside of the group that
        limits its memory, and joins it while it can do nothing and nobody else can trace it (ptrace(2)).
        """
        self.held = lib.pyr_hold_children(self.pid) == 0
        return self.held

    def let_go(self) -> None:
        """Let the process that is held go on. Raises Error."""
        while not (done := lib.pyr_let_go(self.pid)):
            check_signals()
            if ends(self.pidfd, 0):
                return  # who waits for its next message says how it ended
        self.held = False
        if done < 0:
            raise Error("the container's process failed", step="ptrace", errno=-done)

    def make_room(self) -> None:
        """Raise the container's limit of processes while this process, which counts for it, exists. Raises Error."""
        if self._loan is not None:
            # Another process of the container has used up the limit meanwhile.
            self._repay()
            pyruntime.cgroup.room.refuse_full(self._cgroup, 1)
        # Before Linux 6.17 two more processes open the procfs of a pid namespace that a container joins (procfs.c).
        self._loan = pyruntime.cgroup.room.lend(self._cgroup, 2 if self.crosses else 1, PATIENCE, check_signals)

    def _repay(self) -> None:
        if self._loan is not None:
            loan, self._loan = self._loan, None
            loan.end()

    def has_begun(self) -> bool:
        """Wait for the first message; return False if the process has ended without one. Raises Error on a signal."""
        poll = select.poll()
        poll.register(self.sync, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        while not (ready := os.call(poll.poll, PATIENCE)):
            check_signals()
        return any(fd == self.sync for fd, _ in ready)

    def hear(self, *, executes: bool = False) -> bytes:
        """Return the next message, b"" if none can come any more. Raises Error where waiting makes no sense.

        executes  the process executes its program next, which closes its end of the connection. A process that may
                  trace it can hold that end open, so the kernel is also asked whether it has executed its program

        A child waits only for the host, so a message comes soon unless the child is frozen or the machine is busy. If
        the intermediate process dies after it has made its sibling, the sibling holds the connection open.
        """
        while True:
            try:
                if self.alone:
                    _check_sender(self.sync, self.pid)
                return messages.read(self.sync)
            except BlockingIOError:
                if self.held:
                    lib.pyr_go_on(self.pid)
                if self.is_gone() or (executes and process.has_executed(self.pid)):
                    return b""

    def is_gone(self) -> bool:
        """Tell whether the process has ended, and has left no message. Raises Error if a signal asks to give up."""
        check_signals()
        return self.pidfd >= 0 and ends(self.pidfd, 0) and not ends(self.sync, 0)

    def end(self) -> int:
        """Return the wait status of the process, which has closed its end of the connection without its last message.

        It is ending already, unless a process that traces it has closed that end. So it is killed, which does not
        change the status of a process that is ending. Raises Error if it does not end, for example because it is
        frozen.
        """
        if self.pidfd >= 0:
            lib.pyr_pidfd_send_signal(self.pidfd, _KILL)
            if not ends(self.pidfd, _LAST_PATIENCE):
                raise Error("the container's process failed", "it does not end")
        status = reap(self.pid)
        self.pid = 0
        return status

    def follow(self, pid: int) -> None:
        """Wait for the end of the process; `pid`, which it has sent, continues its work. Raises Error."""
        self.alone = False
        # It has nothing left to do, unless it is frozen first.
        while self.pidfd >= 0 and not ends(self.pidfd, PATIENCE):
            if self.held:
                lib.pyr_go_on(self.pid)
            check_signals()
        reap(self.pid)
        os.close(self.pidfd)
        self._repay()
        # A child of this process, so that the number is its own until it is waited for.
        self.pid, self.pidfd = pid, lib.pyr_pidfd_open(pid)
        if self.pidfd < 0:
            raise Error("cannot hold on to the container's process", step="pidfd_open", errno=-self.pidfd)

    def take_sync(self) -> int:
        """Return the socket; the caller owns it from now on."""
        sync, self.sync = self.sync, -1
        return sync

    def close(self) -> None:
        """Close the descriptors; the process continues."""
        self._repay()
        for fd in (self.sync, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.sync = self.pidfd = -1


def pass_senders(sync: int, on: bool) -> None:
    """Let the kernel add the sender's pid to each message on `sync`, or stop that (unix(7)). Raises Error."""
    error = lib.pyr_pass_senders(sync, on)
    if error:
        raise Error("cannot set up the socket to the container's process", step="setsockopt(SO_PASSCRED)", errno=-error)


def _check_sender(sync: int, pid: int) -> None:
    """Raise Error unless process `pid` has sent the next message, or no more can come.

    A process that is in a pid namespace of its own cannot pretend to be one that is outside (unix(7), SO_PASSCRED).
    When the socket's timeout is over it raises BlockingIOError.
    """
    sender = lib.pyr_sender(sync)
    if sender == -errno.EAGAIN:
        raise BlockingIOError
    if sender not in (0, pid, -errno.ECONNRESET):
        reason = "another process sent a message in its name" if sender > 0 else ""
        raise Error("the container's process failed", reason, errno=max(-sender, 0))


def reap(pid: int) -> int:
    """Wait for child `pid` and return its wait status; 0 when it is not ours (any more)."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0


def ends(pidfd: int, milliseconds: int) -> bool:
    """Wait at most that long for the end of a process; return whether it has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(os.call(poll.poll, milliseconds))


def check_signals() -> None:
    """Raise Error if a pending signal asks to end the wait for the container's process."""
    number = lib.pyr_signal_to_end()
    if number:
        raise Error("given up waiting for the container's process", f"signal {number} came")
