"""Checks by the start time that a pid still belongs to the same process, because pids are reused (proc(5))."""

from pyruntime.base import lean_os as os

# Flags of a process in the kernel, <linux/sched.h>.
NEVER_EXECUTED = 0x40  # PF_FORKNOEXEC
ENDING = 0x4 | 0x400  # PF_EXITING, PF_SIGNALED
_SIGNALED = 0x400
_SIGKILL = 1 << 8


def _stat_fields(pid: int) -> "list[bytes] | None":
    """Return the fields of /proc/PID/stat from the state on (field 3), None when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # The command name may itself contain ") "; the last one ends it.
        return os.read(fd, 4096).rpartition(b") ")[2].split()
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)


def is_killed(pid: int) -> bool:
    """Tell whether process `pid` is about to end: SIGKILL is pending for it, or it is exiting already (proc(5))."""
    fields = _stat_fields(pid)
    return not fields or bool(_flags(fields) & ENDING)


def has_executed(pid: int, started: int | None = None) -> bool | None:
    """Tell whether process `pid` has executed a program since it was made; None if it does not exist any more.

    started  its start time, to be given if another process can reap it, so that the pid can be reused
    """
    fields = _stat_fields(pid)
    if not fields or started not in (None, int(fields[19])):
        return None
    return not int(fields[6]) & NEVER_EXECUTED


def wait_status(pid: int) -> int:
    """Return the wait status of process `pid`, which has ended (waitpid(2)); 0 if the kernel does not show it."""
    fields = _stat_fields(pid)
    return int(fields[49]) if fields and len(fields) > 49 else 0


def start_time(pid: int) -> int:
    """Return when process `pid` started, in clock ticks since boot; 0 when it does not exist."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def flags(pid: int, started: int) -> int:
    """Return the kernel's flags of the process that had `pid` and start time `started`; -1 if it has ended.

    One for which SIGKILL is pending has a flag of ENDING already.
    """
    fields = _stat_fields(pid) if pid > 0 else None
    return _flags(fields) if fields and int(fields[19]) == started and fields[0] not in (b"Z", b"X") else -1


def _flags(fields: "list[bytes]") -> int:
    # The kernel adds SIGKILL to the pending signals of each thread when it ends a process by any signal.
    return int(fields[6]) | (_SIGNALED if int(fields[28]) & _SIGKILL else 0)


def alive(pid: int, started: int) -> bool:
    """Tell whether the process that had `pid` and start time `started` runs; a zombie has exited."""
    return flags(pid, started) >= 0
