"""Statistics from the control files of cgroup v1 (cgroup-v1/*.rst), in the form of cgroup/stats.py."""

from pyruntime.base import lean_os as os
from pyruntime.cgroup.stats_values import cpuset_entry, memory_entry, number, page_sizes, read, said, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.stats_values import Stats

_CPUSET = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
    *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)

# Field -> files that have it, the best first; which of them exist depends on the I/O scheduler.
_BLKIO = {
    "ioServiceBytesRecursive": ("bfq.io_service_bytes_recursive", "throttle.io_service_bytes_recursive"),
    "ioServicedRecursive": ("bfq.io_serviced_recursive", "throttle.io_serviced_recursive"),
    "ioQueueRecursive": ("bfq.io_queued_recursive",),
    "ioServiceTimeRecursive": ("bfq.io_service_time_recursive",),
    "ioWaitTimeRecursive": ("bfq.io_wait_time_recursive",),
    "ioMergedRecursive": ("bfq.io_merged_recursive",),
    "ioTimeRecursive": ("bfq.time_recursive",),
    "sectorsRecursive": ("bfq.sectors_recursive",),
}


def cpu(directory: str, quota_directory: str) -> "Stats":
    """Return the CPU time used, from cpuacct in `directory`, and how often the quota of cpu throttled it."""
    modes = table(f"{directory}/cpuacct.stat")
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    each = [line.split() for line in read(f"{directory}/cpuacct.usage_all").splitlines()[1:]]
    usage = {
        "total": number(f"{directory}/cpuacct.usage"),
        "percpu": [int(word) for word in read(f"{directory}/cpuacct.usage_percpu").split()],
        "percpu_kernel": [int(row[2]) for row in each],
        "percpu_user": [int(row[1]) for row in each],
        "kernel": modes.get("system", 0) * tick,
        "user": modes.get("user", 0) * tick,
    }
    quota = table(f"{quota_directory}/cpu.stat")
    throttling = {
        "periods": quota.get("nr_periods", 0),
        "throttledPeriods": quota.get("nr_throttled", 0),
        "throttledTime": quota.get("throttled_time", 0),
    }
    return said({"usage": said(usage, ("kernel", "user")), "throttling": said(throttling)})


def cpuset(directory: str) -> "Stats":
    """Return the CPUs and memory nodes that may be used, and the flags of the set."""
    known: dict[str, object] = {name: number(f"{directory}/cpuset.{name}") for name in _CPUSET}
    known.update((name, _members(read(f"{directory}/cpuset.{name}"))) for name in ("cpus", "mems"))
    return cpuset_entry(**known)


def _members(text: str) -> "list[int]":
    """Return the numbers in "0-2,4"."""
    members: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            members += range(int(first), int(last or first) + 1)
    return members


def memory(directory: str) -> "Stats":
    """Return the memory used, with swap, by the kernel, and every counter of memory.stat."""
    raw = table(f"{directory}/memory.stat")
    entries = {"usage": "memory", "swap": "memory.memsw", "kernel": "memory.kmem", "kernelTCP": "memory.kmem.tcp"}
    document: Stats = {"cache": raw.get("cache", 0)}
    for name, prefix in entries.items():
        document[name] = memory_entry(
            number(f"{directory}/{prefix}.usage_in_bytes"),
            number(f"{directory}/{prefix}.limit_in_bytes"),
            number(f"{directory}/{prefix}.max_usage_in_bytes"),
            number(f"{directory}/{prefix}.failcnt"),
        )
    document["raw"] = raw
    return said(document)


def blkio(directory: str) -> "Stats":
    """Return the input and output of block devices, as the kernel counts it."""
    document: Stats = {}
    for name, files in _BLKIO.items():
        for file in files:
            entries = [_operation(line) for line in read(f"{directory}/blkio.{file}").splitlines() if ":" in line]
            if entries:
                document[name] = entries
                break
    return document


def _operation(line: str) -> "Stats":
    """Return the parsed line "8:0 Read 4096", or "8:0 4096"."""
    device, *kind, amount = line.split()
    major, _, minor = device.partition(":")
    return said({"major": int(major), "minor": int(minor), "op": "".join(kind), "value": int(amount)})


def hugetlb(directory: str) -> "Stats":
    """Return the huge pages used, by size."""
    document: Stats = {}
    for size in page_sizes():
        for prefix in (f"{directory}/hugetlb.{size}.rsvd", f"{directory}/hugetlb.{size}"):
            if os.access(f"{prefix}.usage_in_bytes", os.F_OK):
                document[size] = said(
                    {
                        "usage": number(f"{prefix}.usage_in_bytes"),
                        "max": number(f"{prefix}.max_usage_in_bytes"),
                        "failcnt": number(f"{prefix}.failcnt"),
                    },
                    ("failcnt",),
                )
                break
    return document
