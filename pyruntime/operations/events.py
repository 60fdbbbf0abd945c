"""`events`: a container's statistics at intervals, and a notice each time it runs out of memory (runc's verb)."""

import select
import time

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.cgroup.files import CLAUSE
from pyruntime.cgroup.oom import OomNotices
from pyruntime.cgroup.stats import stats
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Emit = Callable[[dict[str, object]], None]


def events(root: str, container_id: str, interval: float, emit: "Emit", *, once: bool = False) -> None:
    """Call `emit` with the statistics every `interval` seconds, and with each notice, until the container ends.

    once  call `emit` once, with the current statistics

    Raises Error when the container is not running.
    """
    with containers.open_container(root, container_id) as container:
        state = container.read()
        status = container.status(state)
        if state is None or status in ("creating", "stopped"):
            raise Error(f"container with id {container_id} is not running", f"it is {status}")
        cgroup = cgroups.open(state["cgroup"])
        if once:
            emit(_statistics(container_id, cgroup))
            return
        pidfd = lib.pyr_pidfd_open(state["pid"])
        try:
            container.check_process(state)
            _watch(container_id, cgroup, pidfd, interval, emit)
        finally:
            if pidfd >= 0:
                os.close(pidfd)


def _watch(container_id: str, cgroup: "cgroups.Cgroup", pidfd: int, interval: float, emit: "Emit") -> None:
    notices = OomNotices(cgroup)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(notices.fd, notices.events)
        due = time.monotonic() + interval
        ended = False
        while not ended:
            # Rounded up, so that the time is over afterwards. A time too long for poll(2) is waited for in parts.
            left = min(max(0.0, due - time.monotonic()), 86400.0)
            ready = [fd for fd, _ in os.call(poll.poll, int(left * 1000) + 1)]
            ended = pidfd in ready
            for _ in range(notices.take()):
                emit({"type": "oom", "id": container_id})
            if not ended and time.monotonic() >= due:
                emit(_statistics(container_id, cgroup))
                due += interval
    finally:
        notices.close()


def _statistics(container_id: str, cgroup: "cgroups.Cgroup") -> "dict[str, object]":
    try:
        return {"type": "stats", "id": container_id, "data": stats(cgroup)}
    except OSError as error:
        raise Error(
            "cannot read the container's statistics",
            error.filename if isinstance(error.filename, str) else "",
            clause=CLAUSE,
            errno=error.errno or 0,
        ) from None
