"""Sets, from the host, what the container's process has no right to set itself: limits, OOM score, scheduler
(config.md#posix-process, #linux-process)."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


HOST_ALONE = ("oom_score_adj", "sched_setattr")  # a child does not inherit the second


def left(ready: bytes, steps: "list[Step]", always: "tuple[str, ...]" = HOST_ALONE) -> "list[Step]":
    """Return those steps of Plan.limits that the process's message of being ready leaves to the host.

    always  operations that are the host's whatever the message says: who may trace the sender can send it, too
    """
    wanted = {index for index, step in enumerate(steps) if index in ready[1:] or step.op in always}
    if log.events is not None:
        for index, step in enumerate(steps):
            if index not in wanted:
                log.events.note(step)  # which the process has done itself
    return [step for index, step in enumerate(steps) if index in wanted]


def apply(pid: int, steps: "list[Step]", preserve_fds: int, spare: int = 0) -> None:
    """Carry out steps of Plan.limits on process `pid`. Raises Error that names the property.

    preserve_fds  how many descriptors of the caller the process has
    spare         how many processes more than its own RLIMIT_NPROC allows until execve

    Upholds config.md#posix-process/rlimit-getrlimit, config.md#linux-process/oom-score-kept.
    """
    for step in steps:
        if step.op == "prlimit":
            args = step.args
            result = lib.pyr_limit(pid, args["resource"], args["soft"], args["hard"], preserve_fds, spare)
            if result < 0:
                raise messages.step_error(step, -result, "prlimit", "")
        elif step.op == "sched_setattr":
            _schedule(pid, step)
        else:
            _oom_score_adj(pid, step)
        if log.events is not None:
            log.events.done(step)


def _schedule(pid: int, step: "Step") -> None:
    args = step.args
    names = ("policy", "sched_flags", "nice", "priority", "runtime", "deadline", "period")
    result = lib.pyr_sched_setattr(pid, *(args[name] for name in names))
    if result < 0:
        raise messages.step_error(step, -result, "sched_setattr", "")
    result = lib.pyr_set_nice(pid, args["sched_flags"], args["nice"])
    if result < 0:
        raise messages.step_error(step, -result, "setpriority", "")


def _oom_score_adj(pid: int, step: "Step") -> None:
    # Upholds config.md#linux-process/oom-score-set.
    path = f"/proc/{pid}/oom_score_adj"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            # Lowering the score needs a privilege; keeping it needs none.
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
