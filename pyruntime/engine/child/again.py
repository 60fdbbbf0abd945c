"""Makes a process a second time, where the kernel has killed the first one for the group in which it was made.

Linux counts how often each group of cgroup v2 was killed (cgroup.kill). At the beginning of a fork it notes the count
of the new process's group, and at the end it kills a process whose group was killed in between. With CLONE_INTO_CGROUP
it notes the count of the caller's group, because it has not looked up the other one yet, and compares that with the
count of the other one (kernel/cgroup/cgroup.c, cgroup_css_set_fork and cgroup_post_fork; seen with Linux 6.18). So no
process can be made from one group in another that was killed more or less often. The counts cannot be read.

The process is then made in the caller's group, and joins its own by cgroup.procs. That is done only if the first one
has sent no message: each sends one before it does anything, so that nothing is done twice.
"""

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.engine.child import failures
from pyruntime.engine.child.child import reap
from pyruntime.plan.cgroup.cgroup import UNIFIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.child.child import Child
    from pyruntime.engine.child.request import Request

_KILL = 9


def prepare(child: "Child", request: "Request", spawn: "Any") -> None:
    """Change `spawn` so that the next process does not begin in its group; forget `child`, which has ended.

    Raises Error if SIGKILL is not what ended the child, and for a group that cannot be opened.
    """
    status = reap(child.pid)
    os.close(child.pidfd)
    child.pid, child.pidfd = 0, -1
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == _KILL):
        raise failures.died(status, request.plan, filtered=False)
    host_files = request.host_files
    tasks = [*spawn.tasks[0 : spawn.task_count], host_files.own(request.cgroup.entry_fd(UNIFIED))]
    spawn.tasks, spawn.task_count = host_files.pin(ffi.new("int[]", tasks)), len(tasks)
    spawn.cgroup = -1
    if not spawn.flags & lib.SPAWN_VIA:
        # What follows relies on the process being in its group.
        spawn.flags |= lib.SPAWN_TELL
    if log.events is not None:
        log.events.done("the kernel kills what is made in this group: it is to be joined instead")
