"""The limits of linux.resources as writes into control files, for cgroup v1 and v2 (config-linux.md#memory and on).

Each limit is written where the host has its controller: in the v1 hierarchy where one is mounted, else in the unified
hierarchy with its value converted. A limit whose controller the host does not have is an error, never skipped.
A value of 0 leaves the kernel's default where it can mean nothing else (memory and cpu limits, weights): callers of
runc send 0 for "not set". pids.limit, swappiness, burst and idle take 0 as a value.
"""

from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.plan.facts import CgroupHost
    from pyruntime.spec.json_types import (
        CPU,
        BlockIO,
        HugepageLimit,
        Memory,
        Network,
        Pids,
        Rdma,
        Resources,
        ThrottleDevice,
        WeightDevice,
    )

    # What a step takes beside file and value: see CgroupPlan.
    How = dict[str, Any]

_RESOURCES = "/linux/resources"

_SWAP_ACCOUNTING = "swap accounting (CONFIG_SWAP and, on older kernels, the boot option swapaccount=1)"
_BFQ = "the I/O scheduler bfq (CONFIG_IOSCHED_BFQ, CONFIG_BFQ_GROUP_IOSCHED)"
_COST = "bfq or the I/O cost controller (CONFIG_IOSCHED_BFQ or CONFIG_BLK_CGROUP_IOCOST)"
_LEAF_WEIGHT = "leaf weights, which went away with the CFQ scheduler in Linux 5.0"


class _Limits:
    """Collects the steps of all sections."""

    __slots__ = ("enable", "host", "steps")

    def __init__(self, host: "CgroupHost") -> None:
        self.host = host
        self.steps: list[Step] = []
        self.enable: list[str] = []

    def section(self, name: str, clause: str, at: str | None = None) -> "_Section":
        return _Section(self, name, clause, f"{_RESOURCES}/{name}" if at is None else at)


class _Section:
    """One property of linux.resources: emits steps with its pointer and clause, and its errors."""

    __slots__ = ("at", "clause", "limits", "name")

    def __init__(self, limits: _Limits, name: str, clause: str, at: str) -> None:
        self.limits = limits
        self.name = name
        self.clause = f"config-linux.md#{clause}"
        self.at = at

    def has(self, v1: str, v2: str) -> bool:
        """Whether the host has the controller in either version."""
        return v1 in self.limits.host.mounts or v2 in self.limits.host.controllers

    def version(self, v1: str, v2: str, field: str) -> int:
        """1 or 2: the cgroup version that has the controller; Error where neither has it.

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
        pointer = f"{self.at}/{field}" if field else self.at
        self.limits.steps.append(
            Step("write_cgroup", pointer, self.clause, controller=controller, file=file, value=str(value), **how)
        )

    def error(self, field: str, reason: str) -> Error:
        pointer = f"{self.at}/{field}" if field else self.at
        return Error(f"cannot set {self.name}", reason, pointer=pointer, clause=self.clause)


def not_enabled(controller: str, directory: str) -> str:
    """Say that the group `directory` of the unified hierarchy lacks a controller."""
    return f"controller {controller} is not enabled in {directory}/cgroup.controllers"


def compile_limits(resources: "Resources", host: "CgroupHost") -> tuple[list[Step], list[str]]:
    """Return the steps for everything in linux.resources but devices, and the v2 controllers they need.

    resources  as the schema and the rules accept them

    Raises Error for controllers that the host lacks, and for values that its version of cgroups has no word for.

    Upholds config-linux.md#unified/conversion-impossible.
    """
    limits = _Limits(host)
    for name, compile_section in _SECTIONS.items():
        section = resources.get(name)
        if section:
            compile_section(section, limits)
    return limits.steps, limits.enable


def _memory(memory: "Memory", limits: _Limits) -> None:
    section = limits.section("memory", "memory")
    limit, swap, reservation = memory.get("limit", 0), memory.get("swap", 0), memory.get("reservation", 0)
    if swap > 0:  # an update may leave it without the limit, or below it, that the container has
        if limit == 0:
            raise section.error("swap", "swap limits memory and swap together: it needs memory.limit too")
        if limit == -1 or swap < limit:
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


def _memory_v1(memory: "Memory", section: _Section, limit: int, swap: int, reservation: int) -> None:
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
            # Later kernels take the limit without a word, and have none. -1 is the default.
            section.write("memory", file, value, name, **({"optional": True} if value == -1 else {"kept": True}))
    if "useHierarchy" in memory:
        # Since Linux 5.11 always on: the kernel accepts 1 and refuses 0.
        section.write("memory", "memory.use_hierarchy", int(memory["useHierarchy"]), "useHierarchy")
    if "disableOOMKiller" in memory:
        section.write("memory", "memory.oom_control", int(memory["disableOOMKiller"]), "disableOOMKiller")
    if "swappiness" in memory:
        section.write("memory", "memory.swappiness", memory["swappiness"], "swappiness")


def _memory_v2(memory: "Memory", section: _Section, limit: int, swap: int, reservation: int) -> None:
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
        how: How = {"needs": _SWAP_ACCOUNTING} if swap > limit else {"optional": True}
        section.write("memory", "memory.swap.max", swap - limit, "swap", **how)
    if limit:
        section.write("memory", "memory.max", _or_max(limit), "limit")
    if reservation:
        section.write("memory", "memory.low", _or_max(reservation), "reservation")


def _cpu(cpu: "CPU", limits: _Limits) -> None:
    section = limits.section("cpu", "cpu")
    quota, period, burst = cpu.get("quota", 0), cpu.get("period", 0), cpu.get("burst")
    if burst and 0 < quota < burst:
        raise section.error("burst", f"burst cannot be more than quota ({quota})")
    properties = ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "burst", "idle")
    asked = [name for name in properties if cpu.get(name)]
    if asked or (any(name in cpu for name in properties) and section.has("cpu", "cpu")):
        if section.version("cpu", "cpu", asked[0] if asked else "") == 1:
            _cpu_v1(cpu, section, quota, period, burst)
        else:
            _cpu_v2(cpu, section, quota, period, burst)
    for name in ("cpus", "mems"):
        if cpu.get(name):
            section.version("cpuset", "cpuset", name)
            section.write("cpuset", f"cpuset.{name}", cpu[name], name)


def _cpu_v1(cpu: "CPU", section: _Section, quota: int, period: int, burst: int | None) -> None:
    # Real time first: without a budget of real time the group refuses real-time processes. Each level needs its own.
    if cpu.get("realtimePeriod"):
        section.write(
            "cpu",
            "cpu.rt_period_us",
            cpu["realtimePeriod"],
            "realtimePeriod",
            needs="CONFIG_RT_GROUP_SCHED",
            levels=True,
            **({"again_after": "cpu.rt_runtime_us"} if cpu.get("realtimeRuntime") else {}),
        )
    if cpu.get("realtimeRuntime"):
        section.write(
            "cpu",
            "cpu.rt_runtime_us",
            cpu["realtimeRuntime"],
            "realtimeRuntime",
            needs="CONFIG_RT_GROUP_SCHED",
            levels=True,
        )
    shares = cpu.get("shares")
    if shares and not 2 <= shares <= 262144:  # the kernel would take the nearest one without a word
        raise section.error("shares", "shares are from 2 to 262144")
    if "idle" in cpu and not cpu["idle"]:
        section.write("cpu", "cpu.idle", 0, "idle", optional=True)
    if shares:
        section.write("cpu", "cpu.shares", shares, "shares")
    if cpu.get("idle"):  # after shares: an idle group refuses them
        section.write("cpu", "cpu.idle", 1, "idle", needs="cpu.idle (Linux 5.15)")
    # In a group that had a quota the kernel may refuse a period or burst that does not fit the old quota.
    again: How = {"again_after": "cpu.cfs_quota_us"} if quota else {}
    if period:
        section.write("cpu", "cpu.cfs_period_us", period, "period", **again)
    if burst is not None and not quota:
        section.write("cpu", "cpu.cfs_burst_us", burst, "burst", **_burst(burst))
    if quota:
        section.write("cpu", "cpu.cfs_quota_us", max(quota, -1), "quota")
    if burst is not None and quota:  # a new group has no quota, and burst must not exceed it
        section.write("cpu", "cpu.cfs_burst_us", burst, "burst", **_burst(burst))


def _cpu_v2(cpu: "CPU", section: _Section, quota: int, period: int, burst: int | None) -> None:
    for name in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(name):
            raise section.error(name, "cgroup v2 has no real-time budget")
    if "idle" in cpu and not cpu["idle"]:
        section.write("cpu", "cpu.idle", 0, "idle", optional=True)
    if cpu.get("shares"):
        section.write("cpu", "cpu.weight", weight_from_shares(cpu["shares"]), "shares")
    if cpu.get("idle"):
        section.write("cpu", "cpu.idle", 1, "idle", needs="cpu.idle (Linux 5.15)")
    if quota or period:
        value = f"{quota if quota > 0 else 'max'} {period or 100000}"  # 100 ms is the kernel's default period
        section.write("cpu", "cpu.max", value, "quota" if quota else "period")
    if burst is not None:
        section.write("cpu", "cpu.max.burst", burst, "burst", **_burst(burst))


def _burst(burst: int) -> "How":
    return {"needs": "cpu burst (Linux 5.14)"} if burst else {"optional": True}


def weight_from_shares(shares: int) -> int:
    """Convert v1 cpu.shares (2 to 262144) to v2 cpu.weight (1 to 10000).

    A quadratic in log2(shares), the exponent of ten, chosen by runc and crun so that the three fixed points agree:
    2 -> 1, 1024 -> 100, 262144 -> 10000.
    """
    import math

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** (log * (log + 125) / 612 - 7 / 34))


def _pids(pids: "Pids", limits: _Limits) -> None:
    # Upholds config-linux.md#pids/zero-is-a-limit.
    section = limits.section("pids", "pids")
    limit = pids.get("limit")
    if limit is None:
        return
    if limit == -1 and not section.has("pids", "pids"):
        return  # where nothing counts there is no limit
    section.version("pids", "pids", "limit")
    section.write("pids", "pids.max", _or_max(limit), "limit")


def _block_io(block: "BlockIO", limits: _Limits) -> None:
    section = limits.section("blockIO", "block-io")
    asked = [name for name, value in block.items() if value]
    if not asked:
        return
    if section.version("blkio", "io", asked[0]) == 1:
        _block_io_v1(block, section)
    else:
        _block_io_v2(block, section)


_THROTTLES = (  # property, v1 file, v2 key of io.max
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def _throttled(block: "BlockIO", name: str) -> "list[ThrottleDevice]":
    entries: Any = block.get(name)
    return entries or []


def _block_io_v1(block: "BlockIO", section: _Section) -> None:
    weight, leaf = block.get("weight"), block.get("leafWeight")
    if weight:
        section.write(
            "blkio", "blkio.bfq.weight", weight, "weight", instead=[["blkio.weight", str(weight)]], needs=_BFQ
        )
    if leaf:
        section.write("blkio", "blkio.leaf_weight", leaf, "leafWeight", needs=_LEAF_WEIGHT)
    for index, entry in enumerate(block.get("weightDevice") or ()):
        device = _device(entry)
        if entry.get("weight"):
            line = f"{device} {entry['weight']}"
            other = [["blkio.weight_device", line]]
            field = f"weightDevice/{index}/weight"
            section.write("blkio", "blkio.bfq.weight_device", line, field, instead=other, needs=_BFQ)
        if entry.get("leafWeight"):
            line = f"{device} {entry['leafWeight']}"
            field = f"weightDevice/{index}/leafWeight"
            section.write("blkio", "blkio.leaf_weight_device", line, field, needs=_LEAF_WEIGHT)
    for name, file, _ in _THROTTLES:
        for index, throttle in enumerate(_throttled(block, name)):
            device = _device(throttle)
            value = f"{device} {throttle['rate']}"
            section.write("blkio", file, value, f"{name}/{index}", needs="CONFIG_BLK_DEV_THROTTLING")


def _block_io_v2(block: "BlockIO", section: _Section) -> None:
    if block.get("leafWeight"):
        raise section.error("leafWeight", "cgroup v2 has no leaf weights")
    weight = block.get("weight")
    if weight:
        other = [["io.weight", str(_io_weight(weight, section, "weight"))]]
        section.write("io", "io.bfq.weight", weight, "weight", instead=other, needs=_COST)
    for index, entry in enumerate(block.get("weightDevice") or ()):
        device = _device(entry)
        if entry.get("leafWeight"):
            field = f"weightDevice/{index}/leafWeight"
            raise section.error(field, "cgroup v2 has no leaf weights")
        if entry.get("weight"):
            field = f"weightDevice/{index}/weight"
            other = [["io.weight", f"{device} {_io_weight(entry['weight'], section, field)}"]]
            section.write("io", "io.bfq.weight", f"{device} {entry['weight']}", field, instead=other, needs=_COST)
    for name, _, key in _THROTTLES:
        for index, throttle in enumerate(_throttled(block, name)):
            device = _device(throttle)
            # v1 takes 0 for "no limit", v2 "max".
            section.write("io", "io.max", f"{device} {key}={throttle['rate'] or 'max'}", f"{name}/{index}")


def _io_weight(weight: int, section: _Section, field: str) -> int:
    """Convert a blkio weight (10 to 1000) to io.weight (1 to 10000), linearly, as runc and crun do."""
    if not 10 <= weight <= 1000:
        raise section.error(field, "weights are from 10 to 1000")
    return 1 + (weight - 10) * 9999 // 990


def _device(entry: "WeightDevice | ThrottleDevice") -> str:
    return f"{entry['major']}:{entry['minor']}"


def _hugetlb(entries: "list[HugepageLimit]", limits: _Limits) -> None:
    for index, entry in enumerate(entries):
        section = limits.section("hugepageLimits", "huge-page-limits", f"{_RESOURCES}/hugepageLimits/{index}")
        size, limit = entry["pageSize"], entry["limit"]
        suffix = "limit_in_bytes" if section.version("hugetlb", "hugetlb", "") == 1 else "max"
        # Both accountings where the kernel has both (Linux 5.7): a reservation is refused before a fault could fail.
        field = "limit"
        needs = f"huge pages of {size}"
        section.write("hugetlb", f"hugetlb.{size}.{suffix}", limit, field, needs=needs)
        section.write("hugetlb", f"hugetlb.{size}.rsvd.{suffix}", limit, field, optional=True)


def _network(network: "Network", limits: _Limits) -> None:
    section = limits.section("network", "network")
    if network.get("classID"):
        section.version("net_cls", "", "classID")
        section.write("net_cls", "net_cls.classid", network["classID"], "classID")
    for index, entry in enumerate(network.get("priorities") or ()):
        field = f"priorities/{index}"
        section.version("net_prio", "", field)
        section.write("net_prio", "net_prio.ifpriomap", f"{entry['name']} {entry['priority']}", field)


def _rdma(devices: "dict[str, Rdma]", limits: _Limits) -> None:
    for name, entry in devices.items():
        section = limits.section("rdma", "rdma", join(f"{_RESOURCES}/rdma", name))
        handles, objects = entry.get("hcaHandles"), entry.get("hcaObjects")
        pairs = (("hca_handle", handles), ("hca_object", objects))
        values = [f"{key}={value}" for key, value in pairs if value is not None]
        section.version("rdma", "rdma", "")
        section.write("rdma", "rdma.max", " ".join([name, *values]), "")


# Files whose name starts so belong to no controller: they are in every group of the unified hierarchy.
_CORE = ("cgroup", "irq")


def _unified(files: "dict[str, str]", limits: _Limits) -> None:
    # Upholds config-linux.md#unified/controllers-enabled, config-linux.md#unified/unknown-written,
    # config-linux.md#unified/controller-missing.
    for file, value in files.items():
        section = limits.section("unified", "unified", join(f"{_RESOURCES}/unified", file))
        controller = file.partition(".")[0]
        if not limits.host.unified:
            raise section.error("", "this host has no unified (v2) hierarchy")
        if controller in _CORE:
            controller = ""
        elif controller not in limits.host.controllers:
            raise section.error("", not_enabled(controller, limits.host.unified))
        elif controller not in limits.enable:
            limits.enable.append(controller)
        # The kernel takes one line a write. `unified` says that a name is the v2 file even where v1 has its like.
        for line in value.split("\n") if value.strip("\n") else [value]:
            if line or not value:
                section.write(controller, file, line, "")


def _or_max(value: int) -> object:
    return "max" if value == -1 else value


# In the order in which they are written. `unified` last: it has the last word.
_SECTIONS: "dict[str, Callable[[Any, _Limits], None]]" = {
    "pids": _pids,
    "memory": _memory,
    "blockIO": _block_io,
    "cpu": _cpu,
    "hugepageLimits": _hugetlb,
    "network": _network,
    "rdma": _rdma,
    "unified": _unified,
}
