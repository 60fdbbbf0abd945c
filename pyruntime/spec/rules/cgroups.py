"""Cgroup paths and limits (config-linux.md#control-groups)."""

from pyruntime.errors import Error
from pyruntime.spec.pointer import join
from pyruntime.spec.rules.lists import is_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.types import Config, Resources


def cgroups_path(config: "Config") -> "Iterator[Error]":
    """A path stays below the cgroup mount, or below the place where relative ones start.

    Upholds config-linux.md#cgroups-path/invalid-is-error.
    """
    path = config.get("linux", {}).get("cgroupsPath", "")
    if ".." in path.split("/"):
        yield Error(
            f'linux.cgroupsPath is "{path[:60]}"',
            'expected a path without ".."',
            pointer="/linux/cgroupsPath",
            value=path[:200],
            clause="config-linux.md#cgroups-path",
        )


def cpu(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """CPUs and memory nodes are lists; a burst fits in a positive quota.

    Upholds config-linux.md#cpu/burst-within-quota.
    """
    settings = resources.get("cpu", {})
    clause = "config-linux.md#cpu"
    for name, value in (("cpus", settings.get("cpus", "")), ("mems", settings.get("mems", ""))):
        if not is_list(value):
            yield Error(
                f'cpu.{name} is "{value[:60]}"',
                'expected a list like "0-3,7"',
                pointer=f"{at}/cpu/{name}",
                value=value[:200],
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
    settings = resources.get("memory", {})
    swap, limit = settings.get("swap", 0), settings.get("limit", 0)
    if 0 < swap < limit:
        yield Error(
            f"memory.swap is {swap}",
            f"expected at least memory.limit, {limit}: it limits memory and swap together",
            pointer=f"{at}/memory/swap",
            value=swap,
            clause="config-linux.md#memory",
        )


def unified(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """Each key is a file in the container's own cgroup, not a path to another."""
    for name in resources.get("unified", ()):
        if "/" in name or name in (".", ".."):
            yield Error(
                f'unified has the key "{name[:60]}"',
                "expected the name of a file in the container's cgroup, without slashes",
                pointer=join(f"{at}/unified", name),
                clause="config-linux.md#unified",
            )
