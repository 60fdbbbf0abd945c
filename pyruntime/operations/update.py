"""`update`: change the limits of a container (runc's verb; the values are those of config-linux.md#control-groups)."""

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.cgroup import update
from pyruntime.cgroup.files import CLAUSE
from pyruntime.host import cgroups as host_cgroups
from pyruntime.plan.cgroup.cgroup import CgroupPlan, compile_update
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.plan.facts import CgroupHost
    from pyruntime.spec.json_types import Config, StateFile
    from pyruntime.store.container import Container

    Values = dict[str, Any]

# Members for which 0 means "not given", as with runc.
_ZERO_IS_NOTHING = {
    "cpu": ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod"),
    "memory": ("limit", "reservation", "swap", "kernel", "kernelTCP"),
    "blockIO": ("weight", "leafWeight"),
}

# Sections in which values are checked against each other, or written together into one file.
_COUPLED = ("cpu", "memory")

# Place of a list below linux.resources -> members that identify an entry. The specification has no other lists.
_DEVICE = ("major", "minor")
_KEYS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("hugepageLimits",): ("pageSize",),
    ("network", "priorities"): ("name",),
    ("blockIO", "weightDevice"): _DEVICE,
    **{("blockIO", f"throttle{what}Device"): _DEVICE for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")},
}


def update_container(root: str, container_id: str, resources: "Values", schemata: "list[str]") -> None:
    """Set the limits `resources` (validated; as linux.resources, but only changes), and store them in config.json.

    schemata  lines for the container's class of service in resctrl

    Raises Error if the container is not running, or if a limit cannot be set: then all limits are as before, or the
    error says which are not.
    """
    with containers.open_container(root, container_id) as container:
        if not container.lock_unless_creating():
            raise Error(f"cannot update container {container_id!r}", "it is creating")
        state = container.read()
        status = container.status(state)
        if state is None or status not in ("created", "running", "paused"):
            reason = "container not running" if status == "stopped" else f"it is {status}"
            raise Error(f"cannot update container {container_id!r}", reason)
        config = container.read_config()
        linux: Values = config.setdefault("linux", {})  # type: ignore[assignment]
        given = {name: _given(name, section) for name, section in resources.items() if name != "devices" and section}
        if resources.get("devices"):
            log.warning("update leaves the device rules as they are")
        stored: Values = linux.get("resources") or {}
        merged = {**stored, **{name: _merged((name,), stored.get(name), section) for name, section in given.items()}}
        linux["resources"] = merged
        cgroup = cgroups.open(state["cgroup"])
        try:
            cgroup.plan = _plan(stored, merged, given, cgroup)
            groups = _classes(state, container_id) if schemata else []
            _carry_out(container, config, cgroup, groups, schemata)
        except Error as error:
            error.show(config)
            raise


def _given(name: str, section: "Any") -> "Any":
    """Return the members of a section that are given."""
    if name not in _ZERO_IS_NOTHING:
        return section
    if name == "memory" and (section.get("kernel") or section.get("kernelTCP")):
        log.warning("update leaves the limits of kernel memory as they are: kernels have none any more")
        section = {field: value for field, value in section.items() if not field.startswith("kernel")}
    return {field: value for field, value in section.items() if value or field not in _ZERO_IS_NOTHING[name]}


def _merged(place: "tuple[str, ...]", stored: "Any", given: "Any") -> "Any":
    """Return a section of linux.resources, or a part of one, as it is after the update."""
    if keys := _KEYS.get(place):
        entries = {tuple(entry[key] for key in keys): entry for entry in [*(stored or ())]}
        for entry in given:
            which = tuple(entry[key] for key in keys)
            entries[which] = {**entries.get(which, {}), **entry}
        return list(entries.values())
    if not isinstance(given, dict):
        return given
    merged = dict(stored) if isinstance(stored, dict) else {}
    for field, value in given.items():
        merged[field] = _merged((*place, field), merged.get(field), value)
    if place == ("memory",) and given.get("limit") == -1 and "swap" not in given:
        # Unlimited memory also means unlimited swap, as with runc.
        merged.pop("swap", None)
    return merged


def _plan(stored: "Values", merged: "Values", given: "Values", cgroup: "Cgroup") -> CgroupPlan:
    """Return the plan of the changes. Raises Error for an impossible value, and if there is no group."""
    host = host_cgroups.detect()
    coupled = [name for name in _COUPLED if name in given]
    asked = {name: merged[name] if name in coupled else given[name] for name in given}
    if asked and not cgroup.paths:
        raise Error("cannot update the container", "it has no cgroup of its own", clause=CLAUSE)
    plan = compile_update(asked, host, cgroup.paths)  # type: ignore[arg-type]
    plan.pointer = ""
    before: Values = {name: stored[name] for name in coupled if stored.get(name)}
    held = {_write(step) for step in compile_update(before, host, cgroup.paths).steps}  # type: ignore[arg-type]
    kept = []
    for step in plan.steps:
        section, _, field = step.pointer.removeprefix("/linux/resources/").partition("/")
        # A value that is not given, and is not changed by one that is, stays: others may have changed it since.
        if section not in coupled or field in given[section] or _write(step) not in held:
            kept.append(step)
    plan.steps = kept
    _enable(plan, host, cgroup)
    return plan


def _write(step: "Any") -> "tuple[object, ...]":
    return tuple(step.args.get(name) for name in ("controller", "file", "value"))


def _enable(plan: CgroupPlan, host: "CgroupHost", cgroup: "Cgroup") -> None:
    """Enable the v2 controllers that the container's group does not have yet."""
    if plan.enable and cgroup.unified:
        path = cgroup.unified.removeprefix(host.unified)
        pyruntime.cgroup.v2.enable_controllers(host.unified, path, plan.enable, plan.steps, everything=False)


def _classes(state: "StateFile", container_id: str) -> "list[str]":
    """Return the container's class of service: a directory in resctrl. Raises Error when it has none."""
    groups: list[str] = (state.get("intel_rdt") or {}).get("tasks") or []
    if not groups:
        raise Error(
            f"cannot update container {container_id!r}",
            "updating a non-existent Intel RDT configuration is not supported",
            pointer="/linux/intelRdt",
            clause="config-linux.md#intelrdt",
        )
    return groups[:1]


def _carry_out(
    container: "Container", config: "Config", cgroup: "Cgroup", groups: "list[str]", schemata: "list[str]"
) -> None:
    former = update.change(cgroup)
    try:
        for group in groups:
            _write_schemata(f"{group}/schemata", schemata)
        container.write_config(config)
    except Error as error:
        update.undo(former, error)
        raise


def _write_schemata(path: str, lines: "list[str]") -> None:
    text = "".join(f"{line}\n" for line in lines)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise Error(
            f"cannot write {text.strip()} to {path}", clause="config-linux.md#intelrdt", errno=error.errno or 0
        ) from None
