"""The systemd unit that holds a container's cgroup: its name, slice and properties (systemd.resource-control(5))."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.plan.facts import CgroupHost
    from pyruntime.spec.json_types import Config

    Property = tuple[str, str, Any]  # name, D-Bus signature, value

CLAUSE = "config-linux.md#cgroups-path"
POINTER = "/linux/cgroupsPath"
INFINITY = 2**64 - 1

ANNOTATION = "org.systemd.property."
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-\\@")
_LONGEST_NAME = 255
_SHOWN = 200  # characters of a value that an error repeats
_MOST_CPUS = 65536  # far more than Linux supports, and little enough for a bit mask


class SystemdUnit:
    """A transient scope.

    name        "docker-3f5e.scope"
    slice       "system.slice": its parent
    properties  what StartTransientUnit is called with, beside the processes; the limits are among them
    user        the user's own systemd manages it, not the system's
    subgroup    "/container": the container's group, which is made below the scope's; "": it is the scope's itself
    """

    __slots__ = ("name", "properties", "slice", "subgroup", "user")

    def __init__(self, name: str, slice_: str, properties: "list[Property]", *, user: bool, subgroup: str = "") -> None:
        self.name = name
        self.slice = slice_
        self.properties = properties
        self.user = user
        self.subgroup = subgroup

    def directories(self, group: str) -> list[str]:
        """Return the scope's directory and those below it to `group`, the container's own; parents first."""
        scope, parts = group.removesuffix(self.subgroup), self.subgroup.split("/")
        return [scope + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]

    def explain(self, pointer: str) -> list[Step]:
        """The unit as steps for `pyruntime plan`."""
        properties = [[name, signature, value] for name, signature, value in self.properties]
        steps = [Step("start_unit", pointer, CLAUSE, name=self.name, slice=self.slice, properties=properties)]
        if self.subgroup:
            path = self.name + self.subgroup
            pointer = join("/annotations", pyruntime.spec.rules.annotations.SUBGROUP)
            steps.append(
                Step(
                    "mkdir_cgroup", pointer, pyruntime.spec.rules.annotations.CLAUSE, path=path, controllers=["unified"]
                )
            )
        return steps


def compile_unit(
    config: "Config", host: "CgroupHost", container_id: str, steps: list[Step], rootless: bool
) -> tuple[SystemdUnit, str]:
    """Return the unit for a container and its path below the unified mount point; no I/O.

    linux.cgroupsPath is "slice:prefix:name" and gives the scope prefix-name.scope, as with runc; without it the scope
    is pyruntime-ID.scope. `steps` are the limits, as writes to v2 files: systemd is told those that it knows, so that
    it does not undo them, and all are written to the files too.
    Raises Error for other hosts than v2 ones and for names that systemd would refuse.
    """
    configured = (config.get("linux") or {}).get("cgroupsPath") or ""
    if host.mode != "v2":
        raise _error(f"the systemd cgroup driver needs a host with cgroup v2 only; this one is {host.mode}", configured)
    slice_, prefix, name = "", "pyruntime", container_id
    if configured:
        parts = configured.split(":")
        if len(parts) != 3:
            raise _error('with the systemd cgroup driver it is "slice:prefix:name"', configured)
        slice_, prefix, name = parts
    slice_ = slice_ or ("user.slice" if rootless else "system.slice")
    slice_ = "-.slice" if slice_ == "-" else slice_
    unit = f"{prefix}-{name}.scope"
    if not name or name.endswith(".slice"):
        raise _error("a container is in a scope, not in a slice" if name else "the name is empty", configured)
    if len(unit) > _LONGEST_NAME or not set(unit) <= _NAME_CHARACTERS:
        raise _error(f"{unit!r} is not the name of a systemd unit", configured)
    path = f"{expand_slice(slice_)}/{unit}"
    if rootless:
        path = _manager(host.own.get("", "")) + path
    properties: list[Property] = [
        ("Description", "s", f"pyruntime container {container_id}"),
        ("Slice", "s", slice_),
        ("Delegate", "b", True),
        ("DefaultDependencies", "b", False),
        # The groups of all controllers at once, as without systemd: statistics need them.
        *((f"{name}Accounting", "b", True) for name in ("CPU", "IO", "Memory", "Tasks")),
        *limit_properties(steps),
        *_annotated(config.get("annotations") or {}),
    ]
    subgroup = ""
    if config.get("annotations"):
        subgroup = pyruntime.spec.rules.annotations.group(config, pyruntime.spec.rules.annotations.SUBGROUP)
    return SystemdUnit(unit, slice_, properties, user=rootless, subgroup=subgroup), path


def expand_slice(slice_: str) -> str:
    """Return a slice's path: "a-b.slice" is below "a.slice" (systemd.slice(5)): "/a.slice/a-b.slice"; "-.slice" is "".

    Raises Error for what is not a slice's name.
    """
    stem = slice_.removesuffix(".slice")
    if slice_ == "-.slice":
        return ""
    parts = stem.split("-")
    if stem == slice_ or not all(parts) or not set(slice_) <= _NAME_CHARACTERS:
        raise _error(f"{slice_!r} is not the name of a slice", slice_)
    return "".join(f"/{'-'.join(parts[:count])}.slice" for count in range(1, len(parts) + 1))


def _manager(own: str) -> str:
    """The group of the user's systemd, from this process's own: "/user.slice/user-1000.slice/user@1000.service".

    A login session is beside it, "/user.slice/user-1000.slice/session-3.scope". systemd's own answer counts in the end.
    """
    parts = own.split("/")
    for index, part in enumerate(parts):
        if part.startswith("user-") and part.endswith(".slice"):
            user = part[len("user-") : -len(".slice")]
            return "/".join([*parts[: index + 1], f"user@{user}.service"])
    return ""


def _error(reason: str, configured: str) -> Error:
    return Error("cannot make the container's cgroup", reason, pointer=POINTER if configured else "", clause=CLAUSE)


# ---- Limits ----


def limit_properties(steps: list[Step]) -> "list[Property]":
    """Return systemd's properties for the writes in `steps`; of two writes to a file the later one counts.

    Files for which systemd has no property are left out, because they are written directly. Raises Error for a value
    that the property cannot have.
    """
    files: dict[str, Step] = {step.args["file"]: step for step in steps if step.op == "write_cgroup"}
    properties: list[Property] = []
    for file, step in files.items():
        convert = _PROPERTIES.get(file)
        if convert is not None:
            try:
                properties += convert(step.args["value"].strip())
            except ValueError as error:
                raise Error(
                    f"cannot set {file}",
                    f"systemd has no property for {step.args['value'][:_SHOWN]!r}",
                    pointer=step.pointer,
                    clause=step.clause,
                ) from error
    if files.get("cpu.idle") is not None and files["cpu.idle"].args["value"].strip() == "1":
        # An idle group has no weight: systemd writes cpu.idle for the weight 0 (since version 252).
        properties = [entry for entry in properties if entry[0] != "CPUWeight"]
        properties.append(("CPUWeight", "t", 0))
    return properties


def _number(name: str, least: int = 0) -> "Callable[[str], list[Property]]":
    def convert(value: str) -> "list[Property]":
        return [(name, "t", INFINITY if value == "max" else max(_decimal(value), least))]

    return convert


def _decimal(text: str) -> int:
    """Return the number of D-Bus's type t that `text` is. Raises ValueError for anything else, "+1" and "1_0" too."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(INFINITY)) and int(text) <= INFINITY):
        raise ValueError
    return int(text)


def _quota(value: str) -> "list[Property]":
    quota, _, period = value.partition(" ")
    microseconds = _decimal(period or "100000")
    per_second = INFINITY
    if not microseconds:
        raise ValueError
    if quota != "max":
        # systemd counts in whole percents of a CPU: rounded up, so that it never allows less than the file does.
        per_second = min(-(-_decimal(quota) * 1000000 // microseconds // 10000) * 10000, INFINITY)
    return [("CPUQuotaPeriodUSec", "t", microseconds), ("CPUQuotaPerSecUSec", "t", per_second)]


def _mask(name: str) -> "Callable[[str], list[Property]]":
    def convert(value: str) -> "list[Property]":
        bits = 0
        for part in value.split(",") if value else ():  # none: all that the parent has
            first, _, last = part.strip().partition("-")
            low, high = _decimal(first), _decimal(last or first)
            if not low <= high < _MOST_CPUS:
                raise ValueError
            bits |= (1 << high + 1) - (1 << low)
        return [(name, "ay", bits.to_bytes((bits.bit_length() + 7) // 8, "little"))]

    return convert


_PROPERTIES: "dict[str, Callable[[str], list[Property]]]" = {
    "memory.max": _number("MemoryMax"),
    "memory.high": _number("MemoryHigh"),
    "memory.low": _number("MemoryLow"),
    "memory.min": _number("MemoryMin"),
    "memory.swap.max": _number("MemorySwapMax"),
    "pids.max": _number("TasksMax", least=1),  # systemd refuses 0; the file gets it
    "cpu.weight": _number("CPUWeight"),
    "cpu.max": _quota,
    "cpuset.cpus": _mask("AllowedCPUs"),
    "cpuset.mems": _mask("AllowedMemoryNodes"),
}


# ---- Annotations ----


def _annotated(annotations: "dict[str, str]") -> "list[Property]":
    """The properties that annotations "org.systemd.property.NAME" ask for, in GVariant's text format, as with runc."""
    properties: list[Property] = []
    for key, text in annotations.items():
        name = key.removeprefix(ANNOTATION)
        if name == key:
            continue
        pointer = join("/annotations", key)
        if not (name.isascii() and name.isalnum()):
            raise _annotation_error(f"{name[:_SHOWN]!r} is not the name of a systemd property", pointer)
        try:
            signature, value = pyruntime.plan.cgroup.gvariant.parse(text)
        except ValueError as error:
            raise _annotation_error(str(error), pointer) from error
        if _parts_lines(value):
            raise _annotation_error("expected text of one line: systemd writes it into a unit file", pointer)
        if name.endswith("Sec") and name[-4:-3].islower():
            # Documented in seconds as TimeoutStopSec, but on the bus there is only TimeoutStopUSec.
            if signature not in "ynqiuxtd" or not 0 <= value * 1000000 <= INFINITY:
                raise _annotation_error("expected a number of seconds", pointer)
            name, signature, value = f"{name[:-3]}USec", "t", int(value * 1000000)
        properties.append((name, signature, value))
    return properties


def _parts_lines(value: "Any") -> bool:
    """Tell whether a text somewhere in `value` has a newline."""
    if isinstance(value, (list, tuple)):
        return any(map(_parts_lines, value))
    return isinstance(value, str) and "\n" in value


def _annotation_error(reason: str, pointer: str) -> Error:
    return Error(
        "cannot set a property of the systemd unit",
        reason,
        pointer=pointer,
        clause="config.md#annotations",
    )
