"""Init tells the security modules what its next execve changes to (config.md#linux-process).

What is written has no effect before execve. It is written when create has run its hooks, so that a profile that is
not loaded is an error of create, and so that no descriptor of the host's procfs has to outlive the change of the root;
the hooks of startContainer, which are the container's own programs, run under the label too.
"""

import errno

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step

_REASONS = {
    errno.ENOENT: "the kernel does not know it: is it loaded?",
    errno.EINVAL: "the kernel does not know it",
}


def apply(step: "Step", proc: int) -> None:
    """Write the label to the first of the step's attributes that this kernel has.

    proc  descriptor of a procfs that the container cannot have touched

    Raises Error when the security module refuses.
    """
    result = -errno.ENOENT
    text = os.fsencode(step.args["text"])
    for attribute in step.args["attributes"]:
        result = lib.pyr_write_attribute(proc, f"self/attr/{attribute}".encode(), text)
        if result != -errno.ENXIO:
            break
    if result < 0:
        raise Error(
            f"cannot apply the label {step.args['text'].removeprefix('exec ')}",
            _REASONS.get(-result, ""),
            pointer=step.pointer,
            clause=step.clause,
            step=step,
            errno=-result,
        )
