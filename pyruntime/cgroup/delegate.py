"""Makes the group below the container's that belongs to the container (plan/cgroup/cgroup.py). Loaded only for it."""

from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import v2
from pyruntime.cgroup.files import UNIFIED, make_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.plan.step import Step


def make(cgroup: "Cgroup", step: "Step") -> None:
    """Make the group of `step` and give it to its user. It is removed with the container's. Raises Error."""
    directory = cgroup.unified
    try:
        for part in step.args["path"].split("/")[1:]:
            directory = f"{directory}/{part}"
            make_directory(directory)
        if step.args["uid"]:
            v2.give_to(directory, step.args["uid"])
    except OSError as error:
        raise _failed(directory, step, error) from error
    if log.events is not None:
        log.events.done(step)


def enable(cgroup: "Cgroup", step: "Step") -> None:
    """Give the group of `step` the controllers of the container's, which has no process any more. Raises Error."""
    try:
        v2.enable_controllers(cgroup.paths[UNIFIED], step.args["path"], [], [], everything=True)
    except OSError as error:
        raise _failed(cgroup.unified, step, error) from error


def _failed(directory: str, step: "Step", error: OSError) -> Error:
    return Error(
        "cannot make the group of the container's own",
        directory,
        pointer=step.pointer,
        clause=step.clause,
        step=step,
        errno=error.errno or 0,
    )
