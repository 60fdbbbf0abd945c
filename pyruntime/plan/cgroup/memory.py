"""linux.resources.memory: the limits of memory, as files of cgroup v1 and v2 (config-linux.md#memory)."""

from pyruntime.plan.cgroup.section import Limits, Section, or_max
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.cgroup.section import How
    from pyruntime.spec.json_types import Memory

_SWAP_ACCOUNTING = "swap accounting (CONFIG_SWAP and, on older kernels, the boot option swapaccount=1)"


def memory(memory: "Memory", limits: Limits) -> None:
    """Add the steps of linux.resources.memory to `limits`; sizes in bytes. Raises Error (config-linux.md#memory)."""
    section = limits.section("memory", "memory")
    limit, swap, reservation = memory.get("limit", 0), memory.get("swap", 0), memory.get("reservation", 0)
    if swap > 0:  # an update may leave it without the limit, or below it, that the container has
        if limit == 0:
            raise section.error("swap", "swap limits memory and swap together: it needs memory.limit too")
        if swap < limit:
            raise section.error("swap", "swap limits memory and swap together: it cannot be below memory.limit")
    asked = [name for name, value in memory.items() if _asks(name, value)]
    if not asked and not section.has("memory", "memory"):
        return
    if section.version("memory", "memory", asked[0] if asked else "") == 1:
        _memory_v1(memory, section, limit, swap, reservation)
    else:
        _memory_v2(memory, section, limit, swap, reservation)


def _asks(name: str, value: "Any") -> bool:
    """Whether a property of memory asks for something that a host without the controller does not give."""
    if name in ("limit", "reservation", "kernel", "kernelTCP"):  # swap asks for nothing without the limit
        return value not in (0, -1)
    return name == "swappiness" or (name in ("disableOOMKiller", "useHierarchy") and bool(value))


def _memory_v1(memory: "Memory", section: Section, limit: int, swap: int, reservation: int) -> None:
    if limit == -1 and swap > 0:
        raise section.error("swap", "swap limits memory and swap together: it cannot be below memory.limit")
    # cgroup-v1/memory.rst: limit_in_bytes <= memsw.limit_in_bytes at every moment. In a new group both are unlimited,
    # so the smaller one, memory, goes first; where the group had lower limits before, it is refused and comes again.
    if limit == -1 and not swap:
        # As with runc: unlimited memory is unlimited swap too, or the old memsw limit would refuse it.
        section.write("memory", "memory.memsw.limit_in_bytes", -1, "limit", optional=True)
    if limit:
        again: How = {"again_after": "memory.memsw.limit_in_bytes"} if swap else {}
        section.write("memory", "memory.limit_in_bytes", limit, "limit", **again)
    if swap:
        section.write("memory", "memory.memsw.limit_in_bytes", swap, "swap", needs=_SWAP_ACCOUNTING)
    if reservation:
        section.write("memory", "memory.soft_limit_in_bytes", reservation, "reservation")
    for name, file in (("kernel", "memory.kmem.limit_in_bytes"), ("kernelTCP", "memory.kmem.tcp.limit_in_bytes")):
        value: Any = memory.get(name)
        if value:
            # Later kernels accept the limit and ignore it. -1 is the default.
            section.write("memory", file, value, name, **({"optional": True} if value == -1 else {"kept": True}))
    if "useHierarchy" in memory:
        # Since Linux 5.11 always on: the kernel accepts 1 and refuses 0.
        section.write("memory", "memory.use_hierarchy", int(memory["useHierarchy"]), "useHierarchy")
    if "disableOOMKiller" in memory:
        section.write("memory", "memory.oom_control", int(memory["disableOOMKiller"]), "disableOOMKiller")
    if "swappiness" in memory:
        section.write("memory", "memory.swappiness", memory["swappiness"], "swappiness")


def _memory_v2(memory: "Memory", section: Section, limit: int, swap: int, reservation: int) -> None:
    for name, refused in (
        ("swappiness", "swappiness" in memory),
        ("disableOOMKiller", memory.get("disableOOMKiller")),
        ("useHierarchy", memory.get("useHierarchy") is False),
        ("kernel", memory.get("kernel", 0) > 0),
        ("kernelTCP", memory.get("kernelTCP", 0) > 0),
    ):
        if refused:
            raise section.error(name, "cgroup v2 has nothing to convert it to")
    if memory.get("checkBeforeUpdate") and limit > 0:
        pointer = f"{section.at}/checkBeforeUpdate"
        lower = min(value for value in (limit, swap) if value > 0)
        section.limits.steps.append(
            Step("check_memory_usage", pointer, section.clause, controller="memory", limit=lower)
        )
    if swap == -1 or (limit == -1 and not swap):
        section.write("memory", "memory.swap.max", "max", "swap" if swap else "limit", optional=True)
    elif swap:
        # v1 counts memory and swap together, v2 swap alone. A host without swap has none to give: 0 needs no file.
        # Nothing can be subtracted from unlimited memory, so swap is the limit itself, as with runc.
        how: How = {"needs": _SWAP_ACCOUNTING} if swap > limit else {"optional": True}
        section.write("memory", "memory.swap.max", swap - max(limit, 0), "swap", **how)
    if limit:
        section.write("memory", "memory.max", or_max(limit), "limit")
    if reservation:
        section.write("memory", "memory.low", or_max(reservation), "reservation")
