"""Checks by the start time that a pid still belongs to the same process, because pids are reused (proc(5))."""

import errno

from pyruntime._stub import ffi, lib
from pyruntime.base.errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Flags of a process in the kernel, <linux/sched.h>.
NEVER_EXECUTED = 0x40  # PF_FORKNOEXEC
ENDING = 0x4 | 0x400  # PF_EXITING, PF_SIGNALED
# Not one of these: it has the state S of proc(5).
SLEEPS = 1 << lib.PYR_SLEEPS_BIT
_PROCESS = ffi.typeof("struct pyr_process *")


def _process(pid: int) -> "Any":
    """Return the struct pyr_process of process `pid`, None when there is no such process. Raises Error."""
    process = ffi.new(_PROCESS)
    return process if _exists(pid, lib.pyr_process(pid, process)) else None


def _exists(pid: int, answer: int) -> bool:
    if answer < 0 and answer != -errno.ESRCH:
        raise refused("open", f"/proc/{pid}/stat", OSError(-answer, ""))
    return answer >= 0


def is_killed(pid: int) -> bool:
    """Tell whether process `pid` is about to end: SIGKILL is pending for it, or it is exiting already (proc(5))."""
    process = _process(pid)
    return process is None or bool(process.flags & ENDING)


def has_executed(pid: int, started: int | None = None) -> bool | None:
    """Tell whether process `pid` has executed a program since it was made; None if it does not exist any more.

    started  its start time, to be given if another process can reap it, so that the pid can be reused
    """
    process = _process(pid)
    if process is None or started not in (None, process.start_time):
        return None
    return not process.flags & NEVER_EXECUTED


def wait_status(pid: int) -> int:
    """Return the wait status of process `pid`, which has ended (waitpid(2)); 0 if the kernel does not show it."""
    process = _process(pid)
    return int(process.wait_status) if process is not None else 0


def start_time(pid: int) -> int:
    """Return when process `pid` started, in clock ticks since boot; 0 when it does not exist."""
    process = _process(pid)
    return int(process.start_time) if process is not None else 0


def flags(pid: int, started: int) -> int:
    """Return the kernel's flags of the process that had `pid` and start time `started`, and SLEEPS; -1 if it has ended.

    One for which SIGKILL is pending has a flag of ENDING already.
    """
    answer = lib.pyr_process_flags(pid, started) if pid > 0 else -errno.ESRCH
    return answer if _exists(pid, answer) else -1


def alive(pid: int, started: int) -> bool:
    """Tell whether the process that had `pid` and start time `started` runs; a zombie has exited."""
    return flags(pid, started) >= 0
