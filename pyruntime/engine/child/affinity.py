"""The CPUs on which a process of exec is made (config.md#linux-process, execCPUAffinity)."""

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def apply(steps: "list[Step]") -> None:
    """Let this process run on the CPUs of `steps` alone. Raises Error where none of them can be used."""
    for step in steps:
        try:
            os.sched_setaffinity(0, step.args["cpus"])
        except OSError as error:
            raise messages.step_error(step, error.errno or 0, "", "") from None
        if log.events is not None:
            log.events.done(step)
