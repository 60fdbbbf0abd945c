"""The messages that `run --report-fd` sends: that the container runs, how it ended, what it used.

Each message is one JSON object of one line (SOCK_SEQPACKET):

    {"event": "started", "pid": PID}                 with a pidfd of the container's first process
    {"event": "memory"}                              with the file that counts kills for lack of memory, if there is one
    {"event": "ended", "status": N, "usage": {…}}    when the container is deleted
    {"event": "failed", "error": "…", "pointer": "…", "clause": "…"}

A file that has the line "oom_kill N" (memory.oom_control of v1, memory.events of v2) is read while the container runs.
"""

from pyruntime._stub import lib
from pyruntime.base import jsonio
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import UNIFIED
from pyruntime.cgroup.stats_values import number, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.engine.child.child import Child


def _send(fd: int, passed: int = -1, **message: object) -> None:
    """Send a message. It is no error if the reader has closed its end."""
    text = jsonio.dumps(message).encode()
    if passed >= 0:
        lib.pyr_send_fd(fd, passed, text, len(text))
    else:
        lib.pyr_send(fd, text, len(text))


def reported(fd: int, live: "Callable[[], int]") -> int:
    """Call `live`, which runs the container, and return what it returns. An Error is sent, and raised again."""
    os.set_inheritable(fd, False)
    try:
        return live()
    except Error as error:
        _send(fd, event="failed", error=str(error), pointer=error.pointer, clause=error.clause)
        raise


def started(fd: int, child: "Child", cgroup: "Cgroup") -> None:
    """Send "started": the container's program runs."""
    _send(fd, child.pidfd, event="started", pid=child.pid)
    kills = _kills(cgroup)
    if kills:
        counter = os.open(kills, os.O_RDONLY | os.O_CLOEXEC)
        _send(fd, counter, event="memory")
        os.close(counter)


def ended(fd: int, status: int, used: "dict[str, int]") -> None:
    """Send "ended": the container has ended with `status`, and is deleted."""
    _send(fd, event="ended", status=status, usage=used)


def _kills(cgroup: "Cgroup") -> str:
    """Return the file that counts kills for lack of memory, "" without one."""
    for controller, name in (("memory", "memory.oom_control"), (UNIFIED, "memory.events")):
        path = f"{cgroup.paths[controller]}/{name}" if controller in cgroup.paths else ""
        if path and os.access(path, os.R_OK):
            return path
    return ""


def usage(cgroup: "Cgroup") -> "dict[str, int]":
    """Return what the container's groups have used: "cpu" (microseconds), "memory" (bytes at most), "oom_kills".

    What no group counts is left out.
    """
    used = {}
    kills = _kills(cgroup)
    if kills:
        used["oom_kills"] = table(kills).get("oom_kill", 0)
    for name, controller, file in (
        ("memory", "memory", "memory.max_usage_in_bytes"),
        ("memory", UNIFIED, "memory.peak"),
        ("cpu", "cpuacct", "cpuacct.usage"),
    ):
        path = f"{cgroup.paths[controller]}/{file}" if controller in cgroup.paths else ""
        if name not in used and path and os.access(path, os.R_OK):
            used[name] = number(path) // (1000 if name == "cpu" else 1)
    if "cpu" not in used and UNIFIED in cgroup.paths:
        statistics = table(f"{cgroup.paths[UNIFIED]}/cpu.stat")
        if "usage_usec" in statistics:
            used["cpu"] = statistics["usage_usec"]
    return used
