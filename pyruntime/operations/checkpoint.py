"""`checkpoint`: CRIU writes a container's processes into images (runc's verb; no clause)."""

import fcntl
import stat

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.cgroup.files import UNIFIED
from pyruntime.engine.criu import external, rpc, swrk
from pyruntime.engine.criu.options import make_directories
from pyruntime.operations.delete import destroy
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.engine.criu.options import CriuOptions
    from pyruntime.engine.criu.rpc import Message
    from pyruntime.spec.json_types import Config, StateFile

_DOING = "cannot checkpoint the container"


def checkpoint(root: str, container_id: str, options: "CriuOptions", *, before: bool) -> None:
    """Write the container into images, and delete it unless it is to continue (`leave-running`).

    before  write its memory only, and let it continue: a later checkpoint with `parent` has less to write

    Raises Error if the container is not running, or if CRIU fails: then the container continues.
    """
    with containers.open_container(root, container_id) as container:
        if container.is_being_created():
            raise _refused(container_id, "creating")
        container.lock()
        state = container.read()
        status = container.status(state)
        if state is None or status not in ("running", "paused"):
            raise _refused(container_id, status)
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

        swrk.run(rpc.PRE_DUMP if before else rpc.DUMP, _DOING, "dump.log", options, request, notified)
        if not before and "leave-running" not in options.flags:
            destroy(container, state)


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
        request["ext_mnt"] = [
            {"key": place, "val": destination}
            for destination, place in _places(
                pid,
                [
                    *external.external_mounts(config, _masked_files(config, pid)),
                    *external.cgroup_binds(config, groups),
                ],
                external.on_links(config),
            )
        ]
    return request


def _places(pid: int, mounts: "list[tuple[str, str]]", on_links: "set[str]") -> "Iterator[tuple[str, str]]":
    """Yield each destination of `mounts`, and where in the container of process `pid` its mount is.

    on_links  destinations whose mount lies on a link itself

    A link of the image on the way leads to a place in the container. CRIU looks for the mount there, and keeps it under
    the name of the configuration, by which `restore` tells its source.
    """
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    resolve = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
    try:
        for destination, _ in mounts:
            flags = os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if destination in on_links else 0)
            place = lib.pyr_openat2(root, os.fsencode(destination), flags, 0, resolve)
            if place < 0:
                yield destination, destination
                continue
            try:
                yield destination, os.readlink(f"/proc/self/fd/{place}")
            finally:
                os.close(place)
    finally:
        os.close(root)


def _masked_files(config: "Config", pid: int) -> "list[str]":
    """Return the masked paths that are files: the host's null device is mounted over them."""
    paths = (config.get("linux") or {}).get("maskedPaths") or ()
    if not paths:
        return []
    files = []
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in paths:
            # A link in the container leads to a place in the container.
            resolve = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
            place = lib.pyr_openat2(root, os.fsencode(path), os.O_PATH | os.O_CLOEXEC, 0, resolve)
            if place >= 0:
                if stat.S_ISCHR(os.fstat(place).st_mode):
                    files.append(path)
                os.close(place)
    finally:
        os.close(root)
    return files
