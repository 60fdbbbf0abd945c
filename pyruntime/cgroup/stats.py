"""What a container uses, as runc's `events --stats` prints it: one form for both cgroup versions."""

from pyruntime.base import lean_os as os
from pyruntime.cgroup.cgroup import UNIFIED, Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Stats = dict[str, Any]

MOST = 2**64 - 1  # what runc prints for a limit that there is not


def stats(cgroup: Cgroup) -> "Stats":
    """Return the statistics of the container's groups, each from the hierarchy that has its controller.

    Times are in nanoseconds, memory in bytes. Zeros are left out where runc leaves them out. A group that is gone, or
    a file that the kernel does not have, is like one with zeros. Raises OSError for other failures.
    """
    from pyruntime.cgroup import stats_v1, stats_v2

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
    document["network_interfaces"] = None  # runc knows of none but those it makes itself, and it makes none
    return document


def said(values: "Stats", always: "tuple[str, ...]" = ()) -> "Stats":
    """Return `values` without what says nothing, as Go's omitempty does; those named in `always` stay."""
    return {name: value for name, value in values.items() if value or name in always}


def read(path: str) -> str:
    """Return a whole control file; "" where there is none, or the group is gone, or the kernel does not count this."""
    pieces = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # The long ones come a page at a time. `open` would start the rest of the interpreter (embedded.py).
            while piece := os.read(fd, 1 << 16):
                pieces.append(piece)
        finally:
            os.close(fd)
        return b"".join(pieces).decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        import errno

        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def number(path: str) -> int:
    """Return the number in a control file, MOST for "max", 0 where there is none."""
    text = read(path).strip()
    return MOST if text == "max" else int(text or 0)


def table(path: str) -> "dict[str, int]":
    """Return a control file of lines "NAME NUMBER"."""
    rows = (line.split() for line in read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].lstrip("-").isdecimal()}


def page_sizes() -> "list[str]":
    """Return the sizes of huge pages on this host as cgroup files spell them: "2MB", "1GB"."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return []
    sizes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names)
    return [f"{kb >> 20}GB" if kb >= 1 << 20 else f"{kb >> 10}MB" if kb >= 1 << 10 else f"{kb}KB" for kb in sizes]


def pids(directory: str) -> "Stats":
    """Return how many processes and threads there are and may be; the files are the same in both versions."""
    limit = number(f"{directory}/pids.max")
    return said({"current": number(f"{directory}/pids.current"), "limit": 0 if limit == MOST else limit})


def memory_entry(usage: int, limit: int, highest: int = 0, failures: int = 0) -> "Stats":
    """Return one kind of memory, {} when there is nothing of it."""
    if not (usage or limit or highest or failures):
        return {}
    return said({"limit": limit, "usage": usage, "max": highest, "failcnt": failures}, ("limit", "failcnt"))


def cpuset_entry(**known: object) -> "Stats":
    """Return what is known of the CPU set; what is not counts as 0."""
    lists = {name: known[name] for name in ("cpus", "mems") if known.get(name)}
    flags = (
        *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
        *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
    )
    return {**lists, **{name: known.get(name, 0) for name in flags}}
