"""`checkpoint`: CRIU writes a container's processes into images (runc's verb; no clause)."""

import fcntl

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.cgroup.files import UNIFIED
from pyruntime.engine.criu import external, places, rpc, swrk
from pyruntime.engine.criu.options import make_directories
from pyruntime.engine.terminal import foreground
from pyruntime.operations.delete import destroy
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.criu.options import CriuOptions
    from pyruntime.engine.criu.rpc import Message
    from pyruntime.spec.json_types import Config, StateFile
    from pyruntime.store.container import Container

_DOING = "cannot checkpoint the container"


def checkpoint(root: str, container_id: str, options: "CriuOptions", *, before: bool) -> None:
    """Write the container into images, and delete it unless it is to continue (`leave-running`).

    before  write its memory only, and let it continue: a later checkpoint with `parent` has less to write

    Raises Error if the container is not running, or if CRIU fails, or hangs and a signal asks this process to end: then
    the container continues.
    """
    with containers.open_container(root, container_id) as container:
        if not container.lock_unless_creating():
            raise _refused(container_id, "creating")
        mask = foreground.hold_signals()
        try:
            _checkpoint(container, options, before)
        finally:
            foreground.release_signals(mask)


def _checkpoint(container: "Container", options: "CriuOptions", before: bool) -> None:
    state = container.read()
    status = container.status(state)
    if state is None or status not in ("running", "paused"):
        raise _refused(container.container_id, status)
    config = container.read_config()
    request = options.request(config.get("annotations") or {})
    lazy = "lazy-pages" in options.flags
    if lazy and options.status_fd >= 0:
        _check_writable(options.status_fd)
    swrk.check(_DOING, *(["mem_track"] if before else []), *(["lazy_pages"] if lazy else []))
    make_directories(options)
    request.update(_of_container(config, state, before))
    if not before:
        external.save_streams(options, state["pid"])

    def notified(step: str, _pid: int, _descriptor: int) -> None:
        if step == "status-ready" and options.status_fd >= 0:
            os.write(options.status_fd, b"\0")
            os.close(options.status_fd)
        elif step == "post-dump" and _mounts(config, state) != request["ext_mnt"]:
            # The processes still stand still, so this is what CRIU has seen.
            raise Error(_DOING, "the container has moved its mounts meanwhile")

    try:
        swrk.run(rpc.PRE_DUMP if before else rpc.DUMP, _DOING, "dump.log", options, request, notified)
    except Error:
        _let_continue(state, status)
        raise
    if not before and "leave-running" not in options.flags:
        destroy(container, state)


def _let_continue(state: "StateFile", status: str) -> None:
    """Thaw the container unless it was paused: a CRIU that was killed has left it frozen."""
    cgroup = cgroups.open(state["cgroup"])
    if status == "running" and cgroup.frozen:
        cgroup.thaw()


def _refused(container_id: str, status: str) -> Error:
    return Error(f"cannot checkpoint container {container_id!r}", f"container cannot be checkpointed in {status} state")


def _check_writable(fd: int) -> None:
    """Raise Error unless descriptor `fd` is open for writing."""
    try:
        mode = os.call(fcntl.fcntl, fd, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError as error:
        raise Error(f"--status-fd {fd}", errno=error.errno or 0) from None
    if mode == os.O_RDONLY:
        raise Error(f"--status-fd {fd}", "it is not open for writing")


def _of_container(config: "Config", state: "StateFile", before: bool) -> "Message":
    """Return the part of the request about the container; without its mounts if only memory is written."""
    pid = state["pid"]
    request: Message = {"pid": pid, "root": state["rootfs"] or "/"}
    request["external"] = [
        f"{name}[{os.stat(f'/proc/{pid}/ns/{name}').st_ino}]:{external.namespace_key(name)}"
        for name, _ in external.external_namespaces(config)
    ]
    groups = cgroups.open(state["cgroup"]).paths
    freezer = groups.get("freezer") or groups.get(UNIFIED)
    if freezer:
        request["freeze_cgroup"] = freezer
    if not before:
        request["ext_mnt"] = _mounts(config, state)
    return request


def _mounts(config: "Config", state: "StateFile") -> "list[Message]":
    return places.find(state["pid"], config, cgroups.open(state["cgroup"]).paths, _DOING)
