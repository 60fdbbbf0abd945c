"""The resctrl file system: makes the container's groups, puts processes into them, removes them (resctrl.rst)."""

import errno

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan.intel_rdt import ANY, CLAUSE, NEW, POINTER, PRESENT, disagreement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.base.undo import Undo
    from pyruntime.plan.step import Step

_CUSTOMARY = "/sys/fs/resctrl"


def find_mount(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Return where resctrl is mounted in the runtime's mount namespace. Raises Error where it is not.

    Upholds config-linux.md#intelrdt/no-resctrl.
    """
    places = []
    with open(mountinfo, "rb") as file:
        for line in file:
            head, _, tail = line.partition(b" - ")
            if tail.startswith(b"resctrl "):
                # Blanks and backslashes are octal there (proc(5)).
                places.append(os.fsdecode(head.split(b" ")[4].decode("unicode_escape").encode("latin-1")))
    if not places:
        raise Error(
            "cannot use Intel RDT",
            "no resctrl file system is mounted",
            pointer=POINTER,
            clause=CLAUSE,
            advice="`mount -t resctrl resctrl /sys/fs/resctrl` on a processor that has it, with CONFIG_X86_CPU_RESCTRL",
        )
    return _CUSTOMARY if _CUSTOMARY in places else places[0]


class IntelRdt:
    """The groups of one container.

    record  for the state file: "tasks", the directories whose `tasks` file gets its processes, and "remove", those that
            are removed with the container. Complete before anything is made, so that it can be written first.
    """

    __slots__ = ("_root", "_steps", "record")

    def __init__(self, steps: "list[Step]", root: str) -> None:
        """Check the groups of the plan, below the mount `root`. Raises Error if one is not as the plan requires."""
        self._steps = steps
        self._root = root
        self.record: dict[str, list[str]] = {"tasks": [], "remove": []}
        for step in steps:
            if step.op == "resctrl_group":
                _check(step, self._path(step))
                self.record["tasks"].append(self._path(step))
                if step.args["own"]:
                    self.record["remove"].append(self._path(step))
            elif step.op == "resctrl_monitor":
                if os.path.lexists(self._path(step)):
                    raise _refused(step, f"cannot make the monitoring group {self._path(step)}", errno.EEXIST)
                self.record["tasks"].append(self._path(step))
                # It is removed before the group that contains it.
                self.record["remove"].insert(0, self._path(step))

    def _path(self, step: "Step") -> str:
        # Upholds config-linux.md#intelrdt/default-class.
        return os.path.join(self._root, step.args["group"]).rstrip("/")

    def make(self, undo: "Undo") -> None:
        """Make the groups and write their schemata. Raises Error.

        Upholds config-linux.md#intelrdt/own-class, config-linux.md#intelrdt/class-made,
        config-linux.md#intelrdt/class-must-exist, config-linux.md#intelrdt/monitoring-group,
        config-linux.md#intelrdt/monitoring-group-fails.
        """
        existed = False
        for step in self._steps:
            path = self._path(step)
            if step.op == "resctrl_group":
                existed = not self._make_directory(step, path)
                if not existed:
                    undo.push(_remove_unused, path)
            elif step.op == "resctrl_monitor":
                self._make_directory(step, path)
                undo.push(_remove_unused, path)
            elif step.op == "resctrl_compare" and existed:
                self._compare(step, path)
            elif step.op == "resctrl_schemata":
                self._write(step, f"{path}/schemata", "".join(f"{line}\n" for line in step.args["lines"]))

    def _make_directory(self, step: "Step", path: str) -> bool:
        """Make the directory; tell whether it was missing. Raises Error if it cannot be made, or must not exist yet."""
        try:
            os.mkdir(path, 0o755)
        except OSError as error:
            if error.errno == errno.EEXIST and step.args.get("must_be") in (ANY, PRESENT):
                return False
            raise _refused(step, f"cannot make the group {path}", error.errno or 0, self._status()) from None
        return True

    def _compare(self, step: "Step", path: str) -> None:
        # Upholds config-linux.md#intelrdt/class-compared.
        try:
            schemata = _read(f"{path}/schemata")
        except OSError as error:
            raise _refused(step, f"cannot read {path}/schemata", error.errno or 0) from None
        for line in step.args["lines"]:
            found = disagreement(line, schemata, self._granularity())
            if found:
                raise Error(
                    f"the class of service {os.path.basename(path)} exists, and does not agree with {line}",
                    f"it has {found}",
                    pointer=step.pointer,
                    clause=step.clause,
                )

    def _granularity(self) -> int:
        try:
            return int(_read(f"{self._root}/info/MB/bandwidth_gran"))
        except (OSError, ValueError):
            return 0

    def _write(self, step: "Step", path: str, text: str) -> None:
        # Upholds config-linux.md#intelrdt/both-schemas.
        try:
            _write(path, text)
        except OSError as error:
            doing = f"cannot write {text.strip()} to {path}"
            raise _refused(step, doing, error.errno or 0, self._status()) from None

    def _status(self) -> str:
        """Return the kernel's message for the last command that it refused."""
        try:
            text = _read(f"{self._root}/info/last_cmd_status").strip()
        except OSError:
            return ""
        return "" if text == "ok" else text

    def add(self, pid: int) -> None:
        """Put process `pid` into the groups; its children will be in them, too. Raises Error.

        Upholds config-linux.md#intelrdt/task-written.
        """
        join(self.record, pid)


def open_groups(steps: "list[Step]") -> IntelRdt:
    """Return the groups that the plan's steps ask for, on this host. Raises Error."""
    return IntelRdt(steps, find_mount())


def join(record: "dict[str, Any]", pid: int) -> None:
    """Put process `pid` into the groups of a container. Raises Error."""
    for path in record["tasks"]:
        try:
            _write(f"{path}/tasks", str(pid))
        except OSError as error:
            doing = f"cannot put process {pid} into {path}"
            raise Error(doing, pointer=POINTER, clause=CLAUSE, errno=error.errno or 0) from None


def remove(record: "dict[str, Any]") -> None:
    """Remove the groups that are deleted with the container; a missing one is no error. Raises Error.

    Upholds config-linux.md#intelrdt/own-class-removed, config-linux.md#intelrdt/foreign-class-kept,
    config-linux.md#intelrdt/monitoring-group-removed.
    """
    for path in record.get("remove") or ():
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Error(f"cannot remove {path}", clause=CLAUSE, errno=error.errno or 0) from None


def _check(step: "Step", path: str) -> None:
    # Upholds config-linux.md#intelrdt/class-must-exist.
    there, must_be = os.path.isdir(path), step.args["must_be"]
    if must_be == PRESENT and not there:
        raise Error(
            f"there is no class of service {step.args['group']}",
            f"{path} does not exist, and no schema is given to make it with",
            pointer=step.pointer,
            clause=step.clause,
        )
    if must_be == NEW and os.path.lexists(path):
        raise _refused(step, f"cannot make the group {path}", errno.EEXIST)


def _remove_unused(path: str) -> None:
    """Remove a group that could not be set up, unless another program has put a process into it."""
    if not _read(f"{path}/tasks").strip():
        os.rmdir(path)


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    # The kernel reads a command from a single write.
    # Upholds config-linux.md#intelrdt/both-schemas.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _refused(step: "Step", doing: str, error: int, reason: str = "") -> Error:
    return Error(doing, reason, pointer=step.pointer, clause=step.clause, step=step, errno=error)
