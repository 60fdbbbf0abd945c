"""The limits of linux.resources as writes into control files, for cgroup v1 and v2 (config-linux.md#memory and on).

Each limit is written where the host has its controller: in the v1 hierarchy where one is mounted, else in the unified
hierarchy with its value converted. A limit whose controller the host does not have is an error, never skipped.
A value of 0 leaves the kernel's default where it can mean nothing else (memory and cpu limits, weights): callers of
runc send 0 for "not set". pids.limit, swappiness, burst and idle take 0 as a value.
"""

import pyruntime
from pyruntime.base.json_pointer import join
from pyruntime.plan.cgroup.section import RESOURCES, Limits, not_enabled, or_max
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
    )


def compile_limits(resources: "Resources", host: "CgroupHost") -> "tuple[list[Step], list[str]]":
    """Return the steps for everything in linux.resources but devices, and the v2 controllers they need.

    resources  as the schema and the rules accept them

    Raises Error for controllers that the host lacks, and for values that its version of cgroups has no word for.

    Upholds config-linux.md#unified/conversion-impossible.
    """
    limits = Limits(host)
    for name, compile_section in _SECTIONS.items():
        section = resources.get(name)
        if section:
            compile_section(section, limits)
    return limits.steps, limits.enable


def _pids(pids: "Pids", limits: Limits) -> None:
    # Upholds config-linux.md#pids/zero-is-a-limit.
    section = limits.section("pids", "pids")
    limit = pids.get("limit")
    if limit is None:
        return
    if limit == -1 and not section.has("pids", "pids"):
        return  # where nothing counts there is no limit
    if section.version("pids", "pids", "limit") == 2 and limit == 0:
        limit = 1  # init is made in its group there, and counts: nobody else can be made with either
    section.write("pids", "pids.max", or_max(limit), "limit")


def _hugetlb(entries: "list[HugepageLimit]", limits: Limits) -> None:
    for index, entry in enumerate(entries):
        section = limits.section("hugepageLimits", "huge-page-limits", f"{RESOURCES}/hugepageLimits/{index}")
        size, limit = entry["pageSize"], entry["limit"]
        suffix = "limit_in_bytes" if section.version("hugetlb", "hugetlb", "") == 1 else "max"
        # Both accountings where the kernel has both (Linux 5.7): a reservation is refused before a fault could fail.
        field = "limit"
        needs = f"huge pages of {size}"
        section.write("hugetlb", f"hugetlb.{size}.{suffix}", limit, field, needs=needs)
        section.write("hugetlb", f"hugetlb.{size}.rsvd.{suffix}", limit, field, optional=True)


def _network(network: "Network", limits: Limits) -> None:
    section = limits.section("network", "network")
    if network.get("classID"):
        section.version("net_cls", "", "classID")
        section.write("net_cls", "net_cls.classid", network["classID"], "classID")
    for index, entry in enumerate(network.get("priorities") or ()):
        field = f"priorities/{index}"
        section.version("net_prio", "", field)
        section.write("net_prio", "net_prio.ifpriomap", f"{entry['name']} {entry['priority']}", field)


def _rdma(devices: "dict[str, Rdma]", limits: Limits) -> None:
    for name, entry in devices.items():
        section = limits.section("rdma", "rdma", join(f"{RESOURCES}/rdma", name))
        handles, objects = entry.get("hcaHandles"), entry.get("hcaObjects")
        pairs = (("hca_handle", handles), ("hca_object", objects))
        values = [f"{key}={value}" for key, value in pairs if value is not None]
        section.version("rdma", "rdma", "")
        section.write("rdma", "rdma.max", " ".join([name, *values]), "")


# Files whose name starts so belong to no controller: they are in every group of the unified hierarchy.
_CORE = ("cgroup", "irq")


def _unified(files: "dict[str, str]", limits: Limits) -> None:
    # Upholds config-linux.md#unified/controllers-enabled, config-linux.md#unified/unknown-written,
    # config-linux.md#unified/controller-missing.
    for file, value in files.items():
        section = limits.section("unified", "unified", join(f"{RESOURCES}/unified", file))
        controller = file.partition(".")[0]
        if not limits.host.unified:
            raise section.error("", "this host has no unified (v2) hierarchy")
        if controller in _CORE:
            controller = ""
        elif controller not in limits.host.controllers:
            raise section.error("", not_enabled(controller, limits.host.unified))
        elif controller not in limits.enable:
            limits.enable.append(controller)
        # The kernel takes one line in each write. A name in `unified` is the v2 file, even if v1 has a file with it.
        for line in value.split("\n") if value.strip("\n") else [value]:
            if line or not value:
                section.write(controller, file, line, "")


# These have a module of their own, loaded where a configuration has the section.


def _memory(section: "Memory", limits: Limits) -> None:
    pyruntime.plan.cgroup.memory.memory(section, limits)


def _block_io(section: "BlockIO", limits: Limits) -> None:
    pyruntime.plan.cgroup.block_io.block_io(section, limits)


def _cpu(section: "CPU", limits: Limits) -> None:
    pyruntime.plan.cgroup.cpu.cpu(section, limits)


# In the order in which they are written. `unified` is last, because it overrides the others.
_SECTIONS: "dict[str, Callable[[Any, Limits], None]]" = {
    "pids": _pids,
    "memory": _memory,
    "blockIO": _block_io,
    "cpu": _cpu,
    "hugepageLimits": _hugetlb,
    "network": _network,
    "rdma": _rdma,
    "unified": _unified,
}
