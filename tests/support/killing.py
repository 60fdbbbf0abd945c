"""Counts the system calls of a program, and kills it at a chosen one, with ptrace(2)."""

import ctypes
import os
import signal

TRACEME, CONT_TO_SYSCALL, SETOPTIONS = 0, 24, 0x4200
TRACESYSGOOD, EXITKILL = 1, 0x100000
SYSCALL_STOP = signal.SIGTRAP | 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _start(command: list[str]) -> int:
    """Start `command`, which stops at its first instruction, with nothing to read and its output thrown away."""
    pid = os.fork()
    if pid:
        return pid
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        _libc.ptrace(TRACEME, 0, None, None)
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def run(command: list[str], kill_at: int = -1, begins=lambda: False) -> tuple[int, int]:
    """Run `command` to its end, or to where it enters or leaves its system call number `kill_at` and is killed there.

    begins  asked at each stop until it says true; the processes that `command` makes are not traced

    Returns how many stops there were, and at which of them `begins` was true first.
    """
    pid = _start(command)
    os.waitpid(pid, 0)
    _ptrace(SETOPTIONS, pid, TRACESYSGOOD | EXITKILL)
    stops, first, pass_on = 0, -1, 0
    while True:
        _ptrace(CONT_TO_SYSCALL, pid, pass_on)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return stops, first
        number = os.WSTOPSIG(status)
        # The signal that a successful execve(2) gives a traced process is not for it.
        pass_on = 0 if number in (SYSCALL_STOP, signal.SIGTRAP) else number
        if number != SYSCALL_STOP:
            continue
        if first < 0 and begins():
            first = stops
        if stops == kill_at:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return stops, first
        stops += 1
