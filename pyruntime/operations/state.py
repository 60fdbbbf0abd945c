"""The state operation (runtime.md#query-state)."""

from pyruntime import SPEC_VERSION
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.json_types import StateFile

_NEVER = "0001-01-01T00:00:00Z"


def spec_state(state: "StateFile", status: str) -> "dict[str, object]":
    """Return the members of `state` that runtime.md#state defines, with the current status; pid is 0 if stopped.

    Upholds runtime.md#state/pid.
    """
    return {
        "ociVersion": state["ociVersion"],
        "id": state["id"],
        "status": status,
        "pid": 0 if status == "stopped" else state["pid"],
        "bundle": state["bundle"],
        "annotations": state["annotations"],
    }


def state(root: str, container_id: str) -> "dict[str, object]":
    """Return the state of the container, in the order of runc's output.

    root  directory of the states, absolute

    Raises Error when the container does not exist or its state file is damaged.

    Upholds runtime.md#query-state/returns-state.
    """
    with containers.open_container(root, container_id, to_read=True) as container:
        return state_of(container)


def state_of(container: containers.Container) -> "dict[str, object]":
    """Return the state of an open container. Raises Error when its state file is damaged."""
    stored = container.read()
    status = container.status(stored)
    if stored is None:
        # `create` has taken the id and has written no file yet.
        empty = {"ociVersion": SPEC_VERSION, "id": container.container_id, "status": status, "pid": 0, "bundle": ""}
        return {**empty, "annotations": {}, "rootfs": "", "created": _NEVER, "owner": ""}
    document = spec_state(stored, status)
    document["rootfs"] = stored["rootfs"]
    # Empty while the container is being created; Go cannot parse an empty time.
    document["created"] = stored["created"] or _NEVER
    document["owner"] = ""  # as with runc; only `list` looks up the owner
    return document
