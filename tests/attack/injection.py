"""Runs a command of the runtime with one system call disturbed (injector.c), and tells what happened."""

import errno
import functools
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
# Seconds after which a command is stuck: it takes less than one when nobody disturbs it.
PATIENCE = 30

ERRORS = ("EINTR", "ENOMEM", "EMFILE", "EIO", "ENOSPC", "EPERM", "ENOSYS")
ACTIONS = ("kill", *ERRORS)

# Calls for which an error means nothing: those that cannot fail (their pages in section 2 say so) or do not return,
# and futex and rseq, after whose impossible errors the C library ends the process itself.
NO_ERROR = {
    *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getpgrp", "umask", "sched_yield"),
    *("exit", "exit_group", "rt_sigreturn", "set_tid_address", "alarm", "sync", "futex", "rseq"),
}

# Errors that mean that there is nothing to lose: without keyrings in the kernel, the container has none either.
HARMLESS = {("keyctl", "ENOSYS")}


@functools.cache
def names() -> dict[int, str]:
    """Return the names of the system calls by their numbers, as the C library's headers have them."""
    text = subprocess.run(
        ["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-xc", "/dev/null"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {int(number): name for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)}


def build(folder: Path) -> None:
    """Compile the tracer and the container's program into `folder`."""
    for program, options in (("injector", ()), ("probe", ("-static",))):
        command = ["gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *options]
        subprocess.run([*command, "-o", folder / program, HERE / f"{program}.c"], check=True)


@dataclass(frozen=True)
class Point:
    """One disturbance: of process number `process` of a command the first call from `call` on that is call `number`.

    Where threads and signals make a command do more or less than the last time, it is still a call of that kind.

    action  "kill", after the call, or the name of the error with which it ends
    """

    process: int
    call: int
    number: int
    action: str

    def __str__(self) -> str:
        name = names().get(self.number, str(self.number))
        return f"{self.action} at {name} ({self.process}.{self.call})"


@dataclass
class Outcome:
    """What came of a command.

    status     as wait(2) says it; None when it did not end by itself
    met        number of the system call that was disturbed, -1 when the point was not met
    stuck      the processes that had not ended in time: number of the process, of the system call
    processes  pids of all processes of the runtime
    programs   pids of those that went on as another program: the container's, or a hook
    calls      without a point: process, call and number of every system call
    """

    status: "int | None" = None
    met: int = -1
    stuck: list[tuple[int, int]] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    programs: list[int] = field(default_factory=list)
    calls: list[tuple[int, int, int]] = field(default_factory=list)


class Injector:
    """Runs commands below the tracer.

    folder       has what `build` made
    place        for files of its own
    environment  the commands' own
    """

    def __init__(self, folder: Path, place: Path, environment: dict[str, str]) -> None:
        self._environment = environment
        self._program = str(folder / "injector")
        self._report = place / "outcome"

    def run(self, command: list[str], streams: dict[int, int], point: "Point | None" = None, also: int = 0) -> Outcome:
        """Run `command` to its end.

        streams  its descriptor -> ours
        also     pid of a process that is followed, too, as number 1
        """
        where, action = "-", "-"
        if point is not None:
            where = f"{point.process}.{point.call}.{point.number}"
            action = "kill" if point.action == "kill" else str(getattr(errno, point.action))
        attached = ["-p", str(also)] if also else []
        words = [self._program, str(self._report), str(PATIENCE), where, action, *attached, "--", *command]
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in streams.items()]
        pid = os.posix_spawn(words[0], words, self._environment, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            raise RuntimeError(f"the injector ended with {status}: {words}")
        return self._read()

    def _read(self) -> Outcome:
        outcome = Outcome()
        for line in self._report.read_text().splitlines():
            word, *rest = line.split()
            numbers = [int(number) for number in rest]
            if word == "call":
                outcome.calls.append((numbers[0], numbers[1], numbers[2]))
            elif word == "at":
                outcome.met = numbers[0]
            elif word == "status":
                outcome.status = numbers[0]
            elif word == "stuck":
                outcome.stuck.append((numbers[1], numbers[2]))
            else:
                (outcome.processes if word == "process" else outcome.programs).append(numbers[0])
        return outcome
