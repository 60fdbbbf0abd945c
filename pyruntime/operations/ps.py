"""`ps`: the processes in a container."""

from pyruntime.cgroup import cgroup as cgroups
from pyruntime.store import container as containers


def processes(root: str, container_id: str) -> "list[int]":
    """Return the pids in the container's cgroup, or the pid of init if it has none; [] when it has ended.

    Raises Error when there is no such container.
    """
    with containers.open_container(root, container_id) as container:
        state = container.read()
        if state is None:
            return []
        if not state["cgroup"].get("paths"):
            return [] if container.status(state) in ("creating", "stopped") else [state["pid"]]
        return sorted(cgroups.open(state["cgroup"]).pids())
