"""The result of a program in a sandbox, and the exceptions for it."""

import signal as signals
from dataclasses import dataclass, field
from typing import Literal

End = Literal["exited", "signal", "timeout", "memory", "output"]


class SandboxError(Exception):
    """The runtime has failed; this is no result of the program."""


class ProgramFailed(Exception):
    """The program did not end with status 0; `result` has everything about it. Raised by Result.check()."""

    def __init__(self, result: "Result") -> None:
        super().__init__(result.explanation)
        self.result = result


class Timeout(ProgramFailed):
    """The program was killed because its time was over."""


class OutOfMemory(ProgramFailed):
    """The kernel killed a process of the sandbox because the memory limit was reached."""


class OutputLimit(ProgramFailed):
    """The program was killed because it wrote more than the output limit."""


@dataclass(frozen=True)
class Usage:
    """What was used.

    cpu_seconds  processor time, user and system together
    peak_memory  bytes: of the whole container where a cgroup counts them, otherwise of the largest process
    """

    cpu_seconds: float
    peak_memory: int


@dataclass(frozen=True)
class Result:
    """How a program ended. Exactly one of these is the reason, and `end` names it.

    end         "exited", "signal", "timeout", "memory", "output"; of several "memory" before "timeout" before "output"
    returncode  as in subprocess: the exit status, or -N where signal N ended it
    stdout      bytes; b"" where it was not captured
    stderr      bytes
    truncated   more was written than the output limit; the streams hold what was read until then
    timed_out   it was killed because its time was over
    oom_killed  the kernel killed a process of the container for lack of memory while the program ran; the program
                itself may have gone on
    usage       what it used
    duration    seconds from its start to its end
    unlimited   the limits that could not be set (limits="best-effort"): of "memory", "cpus", "pids"
    """

    args: "tuple[str, ...]"
    returncode: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    truncated: bool
    timed_out: bool
    oom_killed: bool
    usage: Usage
    duration: float
    unlimited: "tuple[str, ...]" = ()

    @property
    def signal(self) -> "int | None":
        """The signal that ended the program, None where it exited."""
        return -self.returncode if self.returncode < 0 else None

    @property
    def end(self) -> End:
        """What ended the program."""
        # First, because it is mostly the cause of the others: a program that has lost processes often hangs until its
        # time is over, or writes errors without end.
        if self.oom_killed and self.returncode:
            return "memory"
        if self.timed_out:
            return "timeout"
        if self.truncated:
            return "output"
        return "signal" if self.returncode < 0 else "exited"

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with status 0."""
        return self.end == "exited" and self.returncode == 0

    @property
    def explanation(self) -> str:
        """Say in words how the program ended."""
        end = self.end
        if end == "timeout":
            return f"killed after {self.duration:.3f} seconds: its time was over"
        if end == "output":
            return "killed: it wrote more than the output limit"
        if end == "memory":
            later = "; the rest was killed when its time was over" if self.timed_out else ""
            return f"the kernel killed it, or a process of it, for lack of memory{later}"
        if end == "signal":
            number = -self.returncode
            try:
                name = signals.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            return f"ended by {name}"
        return f"exited with status {self.returncode}"

    def check(self) -> "Result":
        """Return this result if the program ended with status 0.

        Raises Timeout, OutOfMemory, OutputLimit or ProgramFailed otherwise.
        """
        if self.ok:
            return self
        kinds: dict[str, type[ProgramFailed]] = {"timeout": Timeout, "memory": OutOfMemory, "output": OutputLimit}
        raise kinds.get(self.end, ProgramFailed)(self)
