"""The Error for a child that could not be made, that reports a failure, or that died. Loaded only in these cases."""

from errno import EACCES, EINVAL

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan.namespaces import TYPES
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step
    from pyruntime.spec.json_types import Config

_KILL = 9


def failure(message: bytes, plan: "Plan") -> Error:
    """Return the Error that a message of the child tells of."""
    if message[:1] == messages.FAILED:
        return messages.decode_error(message, plan)
    report = messages.Report(message)
    if report.kind == lib.MESSAGE_STEP:
        return messages.failure(plan, report.where, report.index, report.error, report.call, report.text)
    if report.kind == lib.MESSAGE_SPAWN:
        return spawn_error(plan, report)
    return Error("the container's process failed", "its message makes no sense")


def spawn_error(plan: "Plan", report: messages.Report) -> Error:
    """Return the Error for a failure of the stub before the plan's steps: a namespace, an offset of a clock."""
    joins = [step for step in plan.namespaces if step.op == "setns"]
    if 0 <= report.index < len(joins):
        step: Step = joins[report.index]
        doing = f"cannot join the {step.args['namespace']} namespace {step.args['path']}"
        return Error(doing, pointer=step.pointer, clause=step.clause, step=report.call, errno=report.error)
    if report.error == EINVAL and report.call in ("setresuid", "setresgid"):
        for step in joins:
            if step.args["namespace"] == "user":
                kind = "user" if report.call == "setresuid" else "group"
                return Error(
                    f"cannot be root in the user namespace {step.args['path']}",
                    f"it does not map the {kind} id 0, as which the container is built",
                    pointer=f"{step.pointer}/path",
                    value=step.args["path"],
                    clause=step.clause,
                    step=report.call,
                    errno=report.error,
                )
    for step in plan.maps:
        if step.op == "timens_offsets" and step.op in report.text:
            return Error(
                "cannot set the offsets of the clocks",
                step.args["text"].strip().replace("\n", ", "),
                pointer=step.pointer,
                clause=step.clause,
                step=f"{report.call}({report.text})",
                errno=report.error,
            )
    return Error(
        "cannot make the container's first process",
        report.text,
        pointer="/linux/namespaces",
        clause="config-linux.md#namespaces",
        step=report.call,
        errno=report.error,
    )


def died(status: int, plan: "Plan", *, filtered: bool) -> Error:
    """Return the Error for a child that ended without a message.

    status    that of waitpid(2)
    filtered  the filter of the plan, if there is one, is loaded long before execve
    """
    error = _died(status, plan)
    if filtered and plan.filter and not error.pointer:
        step = plan.filter[0]
        error.pointer, error.clause = step.pointer, step.clause
        error.advice = error.advice or "it waits for start under its filter: let that allow what comes before execve"
    return error


def _died(status: int, plan: "Plan") -> Error:
    doing = "the container's first process died"
    if not os.WIFSIGNALED(status):
        return Error(doing, f"it exited with status {os.waitstatus_to_exitcode(status)}")
    number = os.WTERMSIG(status)
    if number == _KILL:
        for step in plan.cgroup.steps:
            paths = {controller: "".join(place) for controller, place in plan.cgroup.groups.items()}
            if step.pointer.startswith("/linux/resources/memory/") and pyruntime.cgroup.oom.kills(paths):
                return Error(
                    doing,
                    "its memory limit is too low for it: the kernel killed it",
                    pointer=step.pointer,
                    clause=step.clause,
                    step=step,
                )
    advice = "a memory limit too low for it is the usual reason" if number == _KILL else ""
    return Error(doing, f"killed by signal {number}", advice=advice)


def ended_early(status: int, config: "Config", paths: "dict[str, str]") -> Error:
    """Return the Error for a process that ended after its last message and before it executed its program.

    status  that of waitpid(2), 0 if it is not known
    config  the container's configuration
    paths   controller -> directory of the container's group
    """
    linux = config.get("linux") or {}
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    early = Error("the process ended before its program began", clause="config.md#process")
    if number:
        early.reason = f"killed by signal {number}"
    elif status:
        early.reason = f"it exited with status {os.waitstatus_to_exitcode(status)}"
    memory = (linux.get("resources") or {}).get("memory") or {}
    if number in (0, _KILL) and memory and pyruntime.cgroup.oom.kills(paths):
        early.reason = "its memory limit is too low for it: the kernel killed it"
        early.pointer, early.clause = "/linux/resources/memory", "config-linux.md#memory"
        return early
    if number == _KILL or "seccomp" not in linux:
        return early
    early.pointer, early.clause = "/linux/seccomp", "config-linux.md#seccomp"
    early.reason = ": ".join(filter(None, ["the seccomp filter stopped it", early.reason]))
    for note in pyruntime.spec.likely_mistakes.without_execve(linux["seccomp"]):
        early.pointer, early.value, early.advice = note.pointer, note.value, note.advice
        early.reason = "the seccomp filter forbids execve"
    return early


def clone_error(error: int, flags: int, group: str = "") -> Error:
    """Return the Error for a clone3 that the kernel refused with errno `error`.

    flags  its CLONE_NEW*
    group  the cgroup to begin in, "" without one
    """
    if error == EACCES and group:
        return Error(
            f"cannot begin in the cgroup {group}",
            "who moves a process must be able to write cgroup.procs of the group above both its old and its new "
            "one (cgroups(7), delegation)",
            pointer="/linux/cgroupsPath",
            clause="config-linux.md#cgroups-path",
            step="clone3",
            errno=error,
            advice="call from a process in the delegated part of that hierarchy: "
            "systemd-run --user --scope -p Delegate=yes",
        )
    names = [name for name, (flag, _) in TYPES.items() if flags & flag]
    return Error(
        "cannot make the container's first process",
        f"new namespaces: {', '.join(names)}" if names else "",
        pointer="/linux/namespaces",
        clause="config-linux.md#namespaces",
        step="clone3",
        errno=error,
    )
