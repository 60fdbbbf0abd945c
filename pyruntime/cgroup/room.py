"""Lends a container one process more than its limit of pids allows, for the time of the intermediate process.

That process counts, too (csrc/stub/spawn.c), so the last free place would not be enough. No process leaves the groups:
a child of a process that is outside would be outside for good.

A process of its own raises the limit and puts it back, so that the limit is back even if the runtime is killed.
"""

import errno
import fcntl

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import UNIFIED, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.cgroup.cgroup import Cgroup

_DOING = "cannot make a process in the container"
_EVERY_SIGNAL = (1 << 64) - 1


class Loan:
    """A raised limit.

    pid   the process that puts it back
    sync  the socket to it: it puts the limit back when the other end is closed
    """

    __slots__ = ("pid", "sync")

    def __init__(self, pid: int, sync: int) -> None:
        self.pid = pid
        self.sync = sync

    def end(self) -> None:
        """Wait until the limit is back."""
        os.close(self.sync)
        os.waitpid(self.pid, 0)


def lend(cgroup: "Cgroup", more: int, patience: int, check: "Callable[[], None]") -> Loan:
    """Raise the limit of the groups, in which the intermediate process is, by `more`; the caller ends the loan.

    patience  milliseconds after which `check` is called again: it raises Error to give up

    Raises Error if the container has as many processes as its limit allows, and if the limit cannot be raised.
    """
    path = refuse_full(cgroup, 1)
    if not path:
        raise Error(
            _DOING,
            "the limit of a group above its own, or RLIMIT_NPROC of its user, allows no more",
            clause="config-linux.md#pids",
            step="clone3",
            errno=errno.EAGAIN,
        )
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error(_DOING, step="socketpair", errno=-error)
    sync, its = pair[0], pair[1]
    file = -1
    try:
        lib.pyr_set_patience(sync, patience)
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _keep(file, its, more)
    except BaseException:
        os.close(sync)
        raise
    finally:
        os.close(its)
        if file >= 0:
            os.close(file)
    loan = Loan(pid, sync)
    try:
        answer = _answer(sync, check)
    except BaseException:
        loan.end()
        raise
    if answer != b"0":
        loan.end()
        raise Error(_DOING, step=f"write({path})", errno=int(answer or b"0"))
    return loan


def refuse_full(cgroup: "Cgroup", beside: int) -> str:
    """Return the file of the limit of pids, "" if there is none. Raises Error if it is reached.

    beside  how many of the group's processes are not the container's own
    """
    for controller in ("pids", UNIFIED):
        path = cgroup.paths.get(controller, "") + "/pids.max"
        if not cgroup.paths.get(controller) or not os.path.exists(path):
            continue
        limit = read_file(path).strip()
        count = int(read_file(path.replace("pids.max", "pids.current"))) - beside
        if limit != "max" and count >= int(limit):
            raise Error(
                _DOING,
                f"it has {count} processes and threads, and its limit is {limit}",
                pointer="/linux/resources/pids/limit",
                clause="config-linux.md#pids",
            )
        if limit != "max":
            return path
    return ""


def _answer(sync: int, check: "Callable[[], None]") -> bytes:
    while True:
        try:
            return os.read(sync, 16)
        except BlockingIOError:
            check()


def _keep(file: int, sync: int, more: int) -> None:
    """Be the process that raises the limit: it does not return.

    It holds a lock on the file, so that the next one reads the limit when it is back. If somebody has set another one
    meanwhile, that stays. Nothing that ends the runtime's processes but SIGKILL ends this one.
    """
    try:
        lib.pyr_set_signal_mask(_EVERY_SIGNAL)
        os.setsid()
        apart = os.call(fcntl.fcntl, sync, fcntl.F_DUPFD_CLOEXEC, 2)
        os.dup2(os.call(fcntl.fcntl, file, fcntl.F_DUPFD_CLOEXEC, 2), 0)
        os.dup2(apart, 1)
        lib.pyr_close_range(2, 0xFFFFFFFF, 0)
        os.call(fcntl.flock, 0, fcntl.LOCK_EX)
        own = os.pread(0, 32, 0)
        raised = own if own.strip() == b"max" else b"%d\n" % (int(own) + more)
        os.pwrite(0, raised, 0)
        try:
            lib.pyr_send(1, b"0", 1)
            os.read(1, 1)
        finally:
            if os.pread(0, 32, 0) == raised:
                os.pwrite(0, own, 0)
    except OSError as error:
        text = b"%d" % (error.errno or 0)
        lib.pyr_send(1, text, len(text))
    finally:
        os._exit(0)
