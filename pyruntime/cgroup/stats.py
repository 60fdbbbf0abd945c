"""What a container uses, as runc's `events --stats` prints it: one form for both cgroup versions."""

from pyruntime.cgroup import stats_v1, stats_v2
from pyruntime.cgroup.files import UNIFIED
from pyruntime.cgroup.stats_values import pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.cgroup.stats_values import Stats


def stats(cgroup: "Cgroup") -> "Stats":
    """Return the statistics of the container's groups, each from the hierarchy that has its controller.

    Times are in nanoseconds, memory in bytes. Zeros are left out where runc leaves them out. A removed group, or a
    file that the kernel does not have, counts as zeros. Raises OSError for other failures.
    """
    paths, unified = cgroup.paths, cgroup.paths.get(UNIFIED, "")
    document: Stats = {}
    if "cpuacct" in paths:
        document["cpu"] = stats_v1.cpu(paths["cpuacct"], paths.get("cpu", ""))
    else:
        document["cpu"] = stats_v2.cpu(unified) if unified else {}
    for name, controller, in_v1, in_v2 in (
        ("cpuset", "cpuset", stats_v1.cpuset, stats_v2.cpuset),
        ("memory", "memory", stats_v1.memory, stats_v2.memory),
        ("pids", "pids", pids, pids),
        ("blkio", "blkio", stats_v1.blkio, stats_v2.blkio),
        ("hugetlb", "hugetlb", stats_v1.hugetlb, stats_v2.hugetlb),
    ):
        if controller in paths:
            document[name] = in_v1(paths[controller])
        elif unified:
            document[name] = in_v2(unified)
        else:
            document[name] = {}
    document["intel_rdt"] = {}
    document["network_interfaces"] = None  # runc prints only groups that it makes itself, and it makes none
    return document
