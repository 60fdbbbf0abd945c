"""Makes room for a process if a limit of pids has none besides the intermediate process (csrc/stub/spawn.c)."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import CLAUSE, UNIFIED, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.plan.facts import CgroupHost

_DOING = "cannot make a process in the container"


def leave(cgroup: "Cgroup", pid: int, host: "CgroupHost") -> list[str]:
    """Move process `pid` out of the groups that count processes, into those of this process; return their directories.

    host  the hierarchies with this process's groups

    Raises Error if there is no room even without it, or if the kernel refuses.
    """
    own = {"pids": host.mounts.get("pids", "") + host.own.get("pids", ""), UNIFIED: host.unified + host.own.get("", "")}
    left = []
    for controller, place in own.items():
        directory = cgroup.paths.get(controller, "")
        if not directory or not os.path.exists(directory + "/pids.max"):
            continue
        _write(place + "/cgroup.procs", pid)
        left.append(directory)
        limit, count = read_file(directory + "/pids.max").strip(), read_file(directory + "/pids.current").strip()
        if limit != "max" and int(count) >= int(limit):
            raise Error(
                _DOING,
                f"it has {count} processes and threads, and its limit is {limit}",
                pointer="/linux/resources/pids/limit",
                clause="config-linux.md#pids",
            )
    return left


def enter(directories: list[str], pid: int) -> None:
    """Move process `pid` into the groups. The kernel counts it, but moves it even above the limit. Raises Error."""
    for directory in directories:
        _write(directory + "/cgroup.procs", pid)


def _write(path: str, pid: int) -> None:
    try:
        write_file(path, str(pid))
    except OSError as error:
        raise Error(_DOING, clause=CLAUSE, step=f"write({path})", errno=error.errno or 0) from None
