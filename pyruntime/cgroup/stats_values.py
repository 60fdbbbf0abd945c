"""Shared by the statistics of both cgroup versions: reading control files, and the form of the entries."""

import errno

from pyruntime.base import lean_os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Stats = dict[str, Any]

MOST = 2**64 - 1  # runc prints this if there is no limit


def said(values: "Stats", always: "tuple[str, ...]" = ()) -> "Stats":
    """Return `values` without empty ones, as Go's omitempty does; those in `always` are kept."""
    return {name: value for name, value in values.items() if value or name in always}


def read(path: str) -> str:
    """Return a whole control file; "" if it does not exist, the group is removed, or the kernel does not count this."""
    pieces = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Long files are read page by page. `open` would start the rest of the interpreter (embedded.py).
            while piece := os.read(fd, 1 << 16):
                pieces.append(piece)
        finally:
            os.close(fd)
        return b"".join(pieces).decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def number(path: str) -> int:
    """Return the number in a control file, MOST for "max", 0 if there is none."""
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
    """Return the number of processes and threads, and its limit; the files are the same in both versions."""
    limit = number(f"{directory}/pids.max")
    return said({"current": number(f"{directory}/pids.current"), "limit": 0 if limit == MOST else limit})


def memory_entry(usage: int, limit: int, highest: int = 0, failures: int = 0) -> "Stats":
    """Return one kind of memory, {} if it is empty."""
    if not (usage or limit or highest or failures):
        return {}
    return said({"limit": limit, "usage": usage, "max": highest, "failcnt": failures}, ("limit", "failcnt"))


def cpuset_entry(**known: object) -> "Stats":
    """Return the entry of the CPU set; unknown values are 0."""
    lists = {name: known[name] for name in ("cpus", "mems") if known.get(name)}
    flags = (
        *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
        *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
    )
    return {**lists, **{name: known.get(name, 0) for name in flags}}
