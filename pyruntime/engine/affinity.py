"""The CPUs on which a process of exec is made (config.md#linux-process, execCPUAffinity)."""

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def apply(steps: "list[Step]") -> None:
    """Let this process run on the CPUs of `steps` alone. Raises Error if one of them cannot be used.

    The kernel leaves out what it does not have, or does not allow in this cgroup, if a CPU remains
    (sched_setaffinity(2)).
    """
    for step in steps:
        try:
            os.sched_setaffinity(0, step.args["cpus"])
            missing = {*step.args["cpus"]} - os.sched_getaffinity(0)
        except OSError as error:
            raise messages.step_error(step, error.errno or 0, "", "") from None
        if missing:
            text = f"CPU {min(missing)} is not there, or not allowed in this cgroup"
            raise messages.step_error(step, 0, "check", text)
        if log.events is not None:
            log.events.done(step)
