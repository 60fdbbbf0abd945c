"""The maps of a new user namespace, by the host (user_namespaces(7), config-linux.md#user-namespace-mappings)."""

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def write(pid: int, steps: "list[Step]") -> None:
    """Write uid_map and gid_map of process `pid`, which is alone in its new user namespace.

    An ordinary user may write only its own id; the other ids are written by newuidmap(1) and newgidmap(1), as
    /etc/subuid and /etc/subgid allow. Raises Error that names the mapping.

    Upholds config-linux.md#user-namespace-mappings/ownership-untouched.
    """
    for step in steps:
        if step.op in ("uid_map", "gid_map"):
            _write_map(pid, step)
            if log.events is not None:
                log.events.done(step)


def _write_map(pid: int, step: "Step") -> None:
    text = step.args["text"]
    try:
        if step.op == "gid_map" and os.geteuid() != 0 and _own_id_only(text):
            # Without privileges, the kernel accepts gid_map only after setgroups(2) is denied.
            _write_file(f"/proc/{pid}/setgroups", "deny")
        _write_file(f"/proc/{pid}/{step.op}", text)
    except PermissionError as error:
        if os.geteuid() == 0:
            raise _refused(step, error.errno or 0, "") from None
        _write_by_helper(pid, step)
    except OSError as error:
        raise _refused(step, error.errno or 0, "") from None


def _own_id_only(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) == 1 and lines[0].split()[1:] == [str(os.getegid()), "1"]


def _write_file(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _write_by_helper(pid: int, step: "Step") -> None:
    name = "newuidmap" if step.op == "uid_map" else "newgidmap"
    helper = pyruntime.host.programs.find(name)
    if not helper:
        raise _refused(
            step,
            0,
            f"{name} is not installed, and without it an ordinary user can map only its own id",
            "it is looked for in the directories of $PATH that are absolute paths",
        )
    try:
        status, said = pyruntime.host.programs.run(helper, [str(pid), *step.args["text"].split()])
    except Error as error:
        error.pointer, error.clause = step.pointer, step.clause
        raise
    if status:
        file = "/etc/subuid" if step.op == "uid_map" else "/etc/subgid"
        advice = f"a user maps only its own id, and those that {file} has for it"
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        raise _refused(step, 0, f"{helper} said: {said}" if said else f"{helper} {how}", advice)
    if _extents(_read_file(f"/proc/{pid}/{step.op}")) != _extents(step.args["text"]):
        raise _refused(step, 0, f"{helper} succeeded, but did not write this mapping")


def _extents(text: str) -> "list[list[str]]":
    # The kernel keeps more than five in another order.
    return sorted(line.split() for line in text.splitlines())


def _read_file(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The kernel gives each line whole: at most 340 of at most 33 bytes (user_namespaces(7)).
        return os.read(fd, 1 << 14).decode()
    finally:
        os.close(fd)


def _refused(step: "Step", error: int, reason: str, advice: str = "") -> Error:
    kind = "user" if step.op == "uid_map" else "group"
    return Error(
        f"cannot map the {kind} ids of the user namespace",
        reason,
        pointer=step.pointer,
        clause=step.clause,
        step=f"write(/proc/PID/{step.op})",
        errno=error,
        advice=advice,
    )
