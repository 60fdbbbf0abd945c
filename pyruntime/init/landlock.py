"""Landlock's ruleset, made by init as the container's user, inside the container (plan/landlock.py)."""

import errno

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def make(steps: "list[Step]") -> int:
    """Return the ruleset (a descriptor that closes at execve) with its rules; it is enforced later. Raises Error."""
    made, *rules = (step for step in steps if step.op != "landlock_restrict_self")
    args = made.args
    ruleset: int = lib.pyr_landlock_ruleset(args["handled_fs"], args["handled_net"], args["scoped"])
    if ruleset < 0:
        raise _refused(made, "cannot make a Landlock ruleset", -ruleset)
    for step in rules:
        args = step.args
        if step.op == "landlock_add_path":
            error = lib.pyr_landlock_path(ruleset, os.fsencode(args["path"]), args["allowed_fs"])
            about = args["path"]
        else:
            error = lib.pyr_landlock_port(ruleset, args["port"], args["allowed_net"])
            about = f"port {args['port']}"
        if error < 0:
            raise _refused(step, f"cannot add the Landlock rule for {about}", -error)
    return ruleset


def _refused(step: "Step", doing: str, error: int) -> Error:
    reason = "the container has no such file" if error == errno.ENOENT else ""
    return Error(doing, reason, pointer=step.pointer, clause=step.clause, step=step, errno=error)
