"""`pause` and `resume`: freeze and thaw a container's processes (runc's verbs; no clause)."""

from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.store import container as containers


def pause(root: str, container_id: str) -> None:
    """Freeze every process of the container and wait until all are. Raises Error when it is not created or running."""
    with containers.open_container(root, container_id) as container:
        state = container.read()
        status = container.status(state)
        if state is None or status not in ("created", "running"):
            raise _refused("pause", container_id, "container not running" if status == "stopped" else f"it is {status}")
        cgroups.open(state["cgroup"]).freeze()


def resume(root: str, container_id: str) -> None:
    """Thaw the container's processes. Raises Error when it is not paused."""
    with containers.open_container(root, container_id) as container:
        state = container.read()
        status = container.status(state)
        if state is None or status != "paused":
            raise _refused("resume", container_id, f"container not paused, it is {status}")
        group = cgroups.open(state["cgroup"])
        group.thaw(state["pid"])


def _refused(verb: str, container_id: str, reason: str) -> Error:
    return Error(f"cannot {verb} container {container_id!r}", reason)
