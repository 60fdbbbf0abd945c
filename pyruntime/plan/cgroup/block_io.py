"""linux.resources.blockIO: weights and throttling of disks, as files of cgroup v1 and v2 (config-linux.md#block-io)."""

from pyruntime.plan.cgroup.section import Limits, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.spec.json_types import BlockIO, ThrottleDevice, WeightDevice

_BFQ = "the I/O scheduler bfq (CONFIG_IOSCHED_BFQ, CONFIG_BFQ_GROUP_IOSCHED)"
_COST = "bfq or the I/O cost controller (CONFIG_IOSCHED_BFQ or CONFIG_BLK_CGROUP_IOCOST)"
_LEAF_WEIGHT = "leaf weights, which went away with the CFQ scheduler in Linux 5.0"


def block_io(block: "BlockIO", limits: Limits) -> None:
    """Add the steps of linux.resources.blockIO to `limits`. Raises Error (config-linux.md#block-io)."""
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


def _block_io_v1(block: "BlockIO", section: Section) -> None:
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


def _block_io_v2(block: "BlockIO", section: Section) -> None:
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


def _io_weight(weight: int, section: Section, field: str) -> int:
    """Convert a blkio weight (10 to 1000) to io.weight (1 to 10000), linearly, as runc and crun do."""
    if not 10 <= weight <= 1000:
        raise section.error(field, "weights are from 10 to 1000")
    return 1 + (weight - 10) * 9999 // 990


def _device(entry: "WeightDevice | ThrottleDevice") -> str:
    return f"{entry['major']}:{entry['minor']}"
