"""Statistics from the control files of cgroup v2 (cgroup-v2.rst), in the form of cgroup/stats.py."""

from pyruntime.base import lean_os as os
from pyruntime.cgroup.stats_values import MOST, cpuset_entry, memory_entry, number, page_sizes, read, said, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.stats_values import Stats

# Key of io.stat -> field and operation, with their names in v1.
_IO = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def cpu(directory: str) -> "Stats":
    """Return the CPU time used, how often the quota throttled it, and the pressure."""
    known = table(f"{directory}/cpu.stat")
    usage = {
        "total": known.get("usage_usec", 0) * 1000,
        "kernel": known.get("system_usec", 0) * 1000,
        "user": known.get("user_usec", 0) * 1000,
    }
    throttling = {
        "periods": known.get("nr_periods", 0),
        "throttledPeriods": known.get("nr_throttled", 0),
        "throttledTime": known.get("throttled_usec", 0) * 1000,
    }
    return said(
        {
            "usage": said(usage, ("kernel", "user")),
            "throttling": said(throttling),
            "psi": _pressure(f"{directory}/cpu.pressure"),
        }
    )


def cpuset(directory: str) -> "Stats":
    """Return what runc prints about a set of CPUs in v2: nothing."""
    return cpuset_entry()


def memory(directory: str) -> "Stats":
    """Return the memory used, with swap included as in v1, every counter of memory.stat, and the pressure."""
    raw = table(f"{directory}/memory.stat")
    used, limit = number(f"{directory}/memory.current"), number(f"{directory}/memory.max")
    document: Stats = {"cache": raw.get("file", 0)}
    document["usage"] = memory_entry(used, limit, number(f"{directory}/memory.peak"))
    swap = number(f"{directory}/memory.swap.max")
    document["swap"] = memory_entry(
        used + number(f"{directory}/memory.swap.current"), MOST if MOST in (swap, limit) else swap + limit
    )
    document["raw"] = raw
    document["psi"] = _pressure(f"{directory}/memory.pressure")
    return said(document)


def blkio(directory: str) -> "Stats":
    """Return the input and output of block devices, and the pressure."""
    document: Stats = {}
    for line in read(f"{directory}/io.stat").splitlines():
        device, *pairs = line.split()
        major, colon, minor = device.partition(":")
        for key, _, value in (pair.partition("=") for pair in pairs if colon):
            if key in _IO:
                field, operation = _IO[key]
                entry = said({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
                document.setdefault(field, []).append(entry)
    pressure = _pressure(f"{directory}/io.pressure")
    return {**document, "psi": pressure} if pressure else document


def hugetlb(directory: str) -> "Stats":
    """Return the huge pages used, by size."""
    document: Stats = {}
    for size in page_sizes():
        for kind in (".rsvd", ""):
            path = f"{directory}/hugetlb.{size}{kind}.current"
            if os.access(path, os.F_OK):
                failures = table(f"{directory}/hugetlb.{size}.events").get("max", 0)
                document[size] = said({"usage": number(path), "failcnt": failures}, ("failcnt",))
                break
    return document


def _pressure(path: str) -> "Stats":
    """Return a pressure file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the same for "full" (psi.rst)."""
    document: Stats = {}
    for line in read(path).splitlines():
        kind, *pairs = line.split()
        values = {name: float(value) for name, _, value in (pair.partition("=") for pair in pairs)}
        if any(values.values()):
            document[kind] = {**values, "total": int(values.get("total", 0))}
    return document
