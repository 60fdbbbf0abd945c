"""Resource limits and OOM score of init, set by itself where it may (config.md#posix-process, #linux-process)."""

import os

from pyruntime._stub import lib
from pyruntime.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def apply(pid: int, steps: "list[Step]") -> None:
    """Carry out "prlimit" and "oom_score_adj" steps on process `pid`. Raises Error that names the property."""
    for step in steps:
        _ACTIONS[step.op](pid, step)


def apply_own(steps: "list[Step]") -> bytes:
    """Carry out on this process those of `steps` that need no privilege; return the indexes of the others.

    To lower a limit is everybody's right in a process of its own, while in one of another user even root needs
    CAP_SYS_RESOURCE for it.
    """
    return bytes(index for index, step in enumerate(steps) if step.op != "prlimit" or _set_limit(0, step) < 0)


def _set_limit(pid: int, step: "Step") -> int:
    return lib.pyr_prlimit(pid, step.args["resource"], step.args["soft"], step.args["hard"])


def _prlimit(pid: int, step: "Step") -> None:
    args = step.args
    result = _set_limit(pid, step)
    if result < 0:
        raise Error(
            f"cannot set {args['name']} to {args['soft']}:{args['hard']}",
            pointer=step.pointer,
            clause=step.clause,
            step="prlimit",
            errno=-result,
            advice="raising a hard limit takes CAP_SYS_RESOURCE" if -result == 1 else "",
        )


def _oom_score_adj(pid: int, step: "Step") -> None:
    path = f"/proc/{pid}/oom_score_adj"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            # Lowering it takes privilege; leaving it where it is does not.
            if int(os.read(fd, 32)) != step.args["value"]:
                os.pwrite(fd, str(step.args["value"]).encode(), 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise Error(
            f"cannot set the OOM score adjustment to {step.args['value']}",
            pointer=step.pointer,
            clause=step.clause,
            step=f"write({path})",
            errno=error.errno or 0,
            advice="lowering it takes CAP_SYS_RESOURCE" if error.errno == 13 else "",
        ) from None


_ACTIONS = {"prlimit": _prlimit, "oom_score_adj": _oom_score_adj}
