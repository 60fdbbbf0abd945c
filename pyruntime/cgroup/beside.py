"""Finds the group for a process of exec if the container has arranged its groups itself. Loaded only then."""

from pyruntime.cgroup import walk
from pyruntime.cgroup.cgroup import Cgroup
from pyruntime.cgroup.files import UNIFIED


def beside(cgroup: Cgroup, pid: int) -> Cgroup:
    """Return the groups `cgroup`, but in the unified hierarchy the one at or below it that has process `pid`.

    For a process that the kernel refuses in the container's own group, because the container has enabled controllers
    for its groups below (cgroup-v2.rst, "No Internal Process Constraint").
    The caller closes the result.
    """
    fd = walk.find(cgroup.unified, pid) if cgroup.unified else -1
    if fd < 0:
        return cgroup
    found = Cgroup({**cgroup.paths, UNIFIED: f"/proc/self/fd/{fd}"}, [], fd=fd)
    found.unit = cgroup.unit
    return found
