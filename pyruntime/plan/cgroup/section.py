"""What compiles a section of linux.resources: the steps so far, and for each section its pointer, clause and errors."""

from pyruntime.base.errors import Error
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.facts import CgroupHost

    # What a step takes beside file and value: see CgroupPlan.
    How = dict[str, Any]

RESOURCES = "/linux/resources"


class Limits:
    """Collects the steps of all sections."""

    __slots__ = ("enable", "host", "steps")

    def __init__(self, host: "CgroupHost") -> None:
        self.host = host
        self.steps: list[Step] = []
        self.enable: list[str] = []

    def section(self, name: str, clause: str, at: str | None = None) -> "Section":
        """Return the section of the property `name`; `at` is its pointer, by default below linux.resources."""
        return Section(self, name, clause, f"{RESOURCES}/{name}" if at is None else at)


class Section:
    """One property of linux.resources: emits steps with its pointer and clause, and its errors."""

    __slots__ = ("at", "clause", "limits", "name")

    def __init__(self, limits: Limits, name: str, clause: str, at: str) -> None:
        self.limits = limits
        self.name = name
        self.clause = f"config-linux.md#{clause}"
        self.at = at

    def has(self, v1: str, v2: str) -> bool:
        """Tell whether the host has the controller in either version."""
        return v1 in self.limits.host.mounts or v2 in self.limits.host.controllers

    def version(self, v1: str, v2: str, field: str) -> int:
        """Return the cgroup version, 1 or 2, that has the controller. Raises Error if neither has it.

        v1, v2  the controller's name in each version; "" where that version has no such controller
        """
        host = self.limits.host
        if v1 in host.mounts:
            return 1
        if v2 in host.controllers:
            if v2 not in self.limits.enable:
                self.limits.enable.append(v2)
            return 2
        if host.mode == "v2" and not v2:
            raise self.error(field, f"cgroup v2 has no controller {v1}")
        lacks = []
        if host.mode != "v2" and v1:
            lacks.append(f"controller {v1} is not mounted (cgroup v1)")
        if host.unified and v2:
            lacks.append(not_enabled(v2, host.unified))
        raise self.error(field, " and ".join(lacks))

    def write(self, controller: str, file: str, value: object, field: str, **how: "Any") -> None:
        """Add the write of `value` to `file` for the member `field`; `how` as in CgroupPlan."""
        pointer = f"{self.at}/{field}" if field else self.at
        self.limits.steps.append(
            Step("write_cgroup", pointer, self.clause, controller=controller, file=file, value=str(value), **how)
        )

    def error(self, field: str, reason: str) -> Error:
        """Return the Error for the member `field`, "" for the whole property."""
        pointer = f"{self.at}/{field}" if field else self.at
        return Error(f"cannot set {self.name}", reason, pointer=pointer, clause=self.clause)


def not_enabled(controller: str, directory: str) -> str:
    """Return the reason of the Error: group `directory` of the unified hierarchy lacks `controller`."""
    return f"controller {controller} is not enabled in {directory}/cgroup.controllers"


def or_max(value: int) -> object:
    """Return "max", the unlimited value of cgroup v2, for -1; otherwise `value`."""
    return "max" if value == -1 else value
