"""Resource limits and OOM score of init, set by itself where it may (config.md#posix-process, #linux-process)."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


_NOFILE = 7
_NR_OPEN = "/proc/sys/fs/nr_open"
_ROOM = 64  # descriptors that init needs, beside the caller's, until it executes the program


def apply(pid: int, steps: "list[Step]", preserve_fds: int) -> None:
    """Carry out "prlimit" and "oom_score_adj" steps on process `pid`. Raises Error that names the property.

    preserve_fds  how many descriptors of the caller's the process has

    Upholds config.md#posix-process/rlimit-getrlimit, config.md#linux-process/oom-score-kept.
    """
    for step in steps:
        if step.op == "prlimit":
            _prlimit(pid, step, _at_first(step, preserve_fds))
        else:
            _oom_score_adj(pid, step)


def apply_own(steps: "list[Step]", preserve_fds: int) -> bytes:
    """Carry out on this process those of `steps` that need no privilege; return the indexes of the others.

    To lower a limit is everybody's right in a process of its own, while in one of another user even root needs
    CAP_SYS_RESOURCE for it. A limit of descriptors that init itself could not live with waits for `lower`.
    """
    return bytes(
        index
        for index, step in enumerate(steps)
        if step.op != "prlimit" or _set_limit(0, step, _at_first(step, preserve_fds)) < 0
    )


def lower(steps: "list[Step]", preserve_fds: int) -> None:
    """Set on this process what had to wait until the program is executed. Raises Error."""
    for step in steps:
        if _waits(step, preserve_fds):
            _prlimit(0, step, (step.args["soft"], step.args["hard"]))


def _waits(step: "Step", preserve_fds: int) -> bool:
    return step.op == "prlimit" and step.args["resource"] == _NOFILE and step.args["soft"] < _ROOM + preserve_fds


def _at_first(step: "Step", preserve_fds: int) -> "tuple[int, int] | None":
    """Return the soft and hard limit to set before the program is executed; None for neither."""
    soft, hard = step.args["soft"], step.args["hard"]
    if not _waits(step, preserve_fds):
        return soft, hard
    # Only a hard limit may have to be raised now, while there is who may do it.
    return (hard, hard) if hard >= _ROOM + preserve_fds else None


def _set_limit(pid: int, step: "Step", limit: "tuple[int, int] | None") -> int:
    # Upholds config.md#posix-process/rlimit-soft, config.md#posix-process/rlimit-hard.
    return lib.pyr_prlimit(pid, step.args["resource"], *limit) if limit else 0


def _prlimit(pid: int, step: "Step", limit: "tuple[int, int] | None") -> None:
    args = step.args
    result = _set_limit(pid, step, limit)
    if result < 0:
        raise Error(
            f"cannot set {args['name']} to {args['soft']}:{args['hard']}",
            pointer=step.pointer,
            clause=step.clause,
            step="prlimit",
            errno=-result,
            advice=_why(step) if -result == 1 else "",
        )


def _why(step: "Step") -> str:
    """Say why the kernel does not permit a limit: getrlimit(2) has two reasons."""
    if step.args["resource"] == _NOFILE:
        try:
            fd = os.open(_NR_OPEN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            most = step.args["hard"]  # the container's /proc need not be there; it is the host that raises limits
        else:
            most = int(os.read(fd, 32))
            os.close(fd)
        if step.args["hard"] > most:
            return f"no limit of descriptors is above the kernel's own, fs.nr_open: {most}"
    return "raising a hard limit takes CAP_SYS_RESOURCE"


def _oom_score_adj(pid: int, step: "Step") -> None:
    # Upholds config.md#linux-process/oom-score-set.
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
