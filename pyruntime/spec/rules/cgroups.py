"""Cgroup paths and limits (config-linux.md#control-groups)."""

from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join
from pyruntime.spec.rules.lists import is_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Resources


def cgroups_path(config: "Config") -> "Iterator[Error]":
    """A path names a group below the cgroup mount, or below the place where relative ones start.

    Upholds config-linux.md#cgroups-path/invalid-is-error.
    """
    path = config["linux"]["cgroupsPath"]
    parts = {*path.split("/")}
    if ".." in parts:
        reason = 'expected a path without ".."'
    elif path and parts <= {"", "."}:
        reason = "expected the path of a group: the root of the hierarchy is not a container's own"
    else:
        return
    yield Error(
        f'linux.cgroupsPath is "{path[:60]}"',
        reason,
        pointer="/linux/cgroupsPath",
        value=path,
        clause="config-linux.md#cgroups-path",
    )


def cpu(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """CPUs and memory nodes are lists; a burst fits in a positive quota.

    Upholds config-linux.md#cpu/burst-within-quota.
    """
    settings = resources["cpu"]
    clause = "config-linux.md#cpu"
    for name, value in (("cpus", settings.get("cpus", "")), ("mems", settings.get("mems", ""))):
        if not is_list(value):
            yield Error(
                f'cpu.{name} is "{value[:60]}"',
                'expected a list like "0-3,7"',
                pointer=f"{at}/cpu/{name}",
                value=value,
                clause=clause,
            )
    burst, quota = settings.get("burst", 0), settings.get("quota", 0)
    if 0 < quota < burst:
        yield Error(
            f"cpu.burst is {burst}",
            f"expected at most the quota, {quota}",
            pointer=f"{at}/cpu/burst",
            value=burst,
            clause=clause,
        )


def memory(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """`swap` limits memory and swap together, so it is not below the limit of memory alone."""
    settings = resources["memory"]
    swap, limit = settings.get("swap", 0), settings.get("limit", 0)
    if swap > 0 and (limit == -1 or swap < limit):
        expected = "-1" if limit == -1 else f"at least memory.limit, {limit}"
        yield Error(
            f"memory.swap is {swap}",
            f"expected {expected}: it limits memory and swap together",
            pointer=f"{at}/memory/swap",
            value=swap,
            clause="config-linux.md#memory",
        )


def swap_with_limit(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """`swap` needs the limit of memory that is a part of it. An update has that of the container."""
    settings = resources["memory"]
    swap = settings.get("swap", 0)
    if swap > 0 and not settings.get("limit"):
        yield Error(
            f"memory.swap is {swap}",
            "expected memory.limit too: swap limits memory and swap together",
            pointer=f"{at}/memory/swap",
            value=swap,
            clause="config-linux.md#memory",
        )


def rdma(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """Each key is the name of a device, which stands before its limits in one line of `rdma.max`."""
    for name in resources["rdma"]:
        if name.split() != [name]:
            yield Error(
                f'rdma has the key "{name[:60]}"',
                "expected the name of an RDMA device, without white space",
                pointer=join(f"{at}/rdma", name),
                clause="config-linux.md#rdma",
            )


# Of the files of the group itself (cgroups(7)) those that are parameters. The others are the runtime's: they move,
# freeze or kill processes, or decide what the group can contain.
_OF_THE_GROUP = ("cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure")


def unified(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """Each key is a file CONTROLLER.PARAMETER in the container's own cgroup, not a path to another."""
    for name in resources["unified"]:
        controller, dot, _ = name.partition(".")
        if "/" in name or not controller or not dot:
            reason = "expected the name of a file in the container's cgroup, CONTROLLER.PARAMETER, without slashes"
        elif controller == "cgroup" and name not in _OF_THE_GROUP:
            reason = f"expected a parameter; of the files of the group itself these are: {', '.join(_OF_THE_GROUP)}"
        else:
            continue
        yield Error(
            f'unified has the key "{name[:60]}"',
            reason,
            pointer=join(f"{at}/unified", name),
            clause="config-linux.md#unified",
        )
