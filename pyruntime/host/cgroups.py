"""The cgroup hierarchies of this host: where each controller is mounted and where this process is (cgroups(7))."""

from pyruntime.base import lean_os as os
from pyruntime.plan.facts import CgroupHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

# Where systemd and everybody else mounts the hierarchies; a mount here is preferred to a copy of it elsewhere
# (the bind mounts of other containers show up in the host's mountinfo too).
_CUSTOMARY = "/sys/fs/cgroup"


def detect() -> CgroupHost:
    """Read this process's view of the cgroup hierarchies.

    Costs one read of /proc/self/cgroup, one of the beginning of /proc/self/mountinfo and, where there is a unified
    hierarchy, one of its cgroup.controllers. A host with ten thousand containers has more mounts than that, all of them
    behind its own. Raises OSError where /proc is not mounted. See proc(5), cgroups(7).
    """
    lines = _lines("/proc/self/mountinfo")
    try:
        host = parse(lines, _read("/proc/self/cgroup"))
    finally:
        lines.close()  # here, and not when it is forgotten: an error then would reach nobody
    if host.unified:
        host.controllers = frozenset(_read(host.unified + "/cgroup.controllers").split())
    return host


def parse(mountinfo: "Iterable[str]", membership: str) -> CgroupHost:
    """Build the host's description without I/O of its own.

    mountinfo   lines of /proc/self/mountinfo; taken until each hierarchy is found at its customary place
    membership  text of /proc/self/cgroup
    """
    own = {}
    for line in membership.splitlines():  # "4:cpu,cpuacct:/path", "1:name=systemd:/path", "0::/path"
        names, _, path = line.partition(":")[2].partition(":")
        for name in names.split(","):
            own[name] = path
    mounts: dict[str, str] = {}
    roots: dict[str, str] = {}
    wanted = set(own)
    for line in mountinfo:
        head, separator, tail = line.partition(" - cgroup")
        if not separator:
            continue
        # "2 cgroup2 rw" or " cgroup rw,cpu,cpuacct"; the first space ends the type, the last one starts the options
        options = tail.rpartition(" ")[2].split(",")
        kind = tail.partition(" ")[0]
        if kind == "2":
            names_here = [""] if "" in own else []
        elif not kind:
            # The options mix controllers with flags like xattr; /proc/self/cgroup knows which of them are controllers.
            names_here = [name for name in options if name in own]
        else:
            continue
        fields = head.split(" ")
        root, mountpoint = _unescape(fields[3]), _unescape(fields[4])
        for name in names_here:
            if name not in mounts or (_is_customary(mountpoint) and not _is_customary(mounts[name])):
                mounts[name], roots[name] = mountpoint, root
                if _is_customary(mountpoint):
                    wanted.discard(name)
        if not wanted:
            break
    unified = mounts.pop("", "")
    v1_controllers = any(not name.startswith("name=") for name in mounts)
    mode = ("hybrid" if v1_controllers else "v2") if unified else "v1"
    below = {name: _below(own[name], root) for name, root in roots.items()}
    return CgroupHost(mode, mounts, unified, below)


def _below(path: str, root: str) -> str:
    """The group `path` as seen below a mount whose root is the group `root`; "/" where it lies outside."""
    if path.startswith("/.."):  # outside this cgroup namespace
        return "/"
    if root == "/":
        return path
    if path.startswith(root + "/"):
        return path[len(root) :]
    return "/"


def _is_customary(mountpoint: str) -> bool:
    return mountpoint.startswith(_CUSTOMARY)


def _unescape(field: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash (proc(5))."""
    if "\\" not in field:
        return field
    head, *parts = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts)


def _lines(path: str) -> "Generator[str, None, None]":
    """Yield the lines of a file; what is behind the last one that is asked for is not read."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        rest = b""
        # The kernel gives out a page at a time.
        while chunk := os.read(fd, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "surrogateescape")
        if rest:
            yield rest.decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def _read(path: str) -> str:
    return "\n".join(_lines(path))
