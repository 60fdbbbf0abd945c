"""`checkpoint`: a container's processes written into images by CRIU (runc's verb; no clause)."""

import os
import stat

from pyruntime import cgroup as cgroups
from pyruntime.engine import criu
from pyruntime.engine.delete import destroy
from pyruntime.errors import Error
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.criu import CriuOptions
    from pyruntime.spec.types import Config, StateFile


def checkpoint(root: str, container_id: str, options: "CriuOptions", *, before: bool) -> None:
    """Write the container into images, and delete it unless it is to go on.

    before  write its memory only, and let it go on: a later checkpoint with `parent` has less to do

    Raises Error when it does not run, or CRIU fails: then it goes on.
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
        criu.make_directories(options)
        words = _arguments(config, state)
        if not before:
            criu.save_streams(options, state["pid"])
        criu.run("pre-dump" if before else "dump", "dump.log", options, words)
        if not before and "leave-running" not in options.flags:
            destroy(container, state)


def _refused(container_id: str, status: str) -> Error:
    return Error(f"cannot checkpoint container {container_id!r}", f"container cannot be checkpointed in {status} state")


def _arguments(config: "Config", state: "StateFile") -> "list[str]":
    pid = state["pid"]
    words = ["--tree", str(pid), "--root", state["rootfs"] or "/"]
    for destination, _ in criu.external_mounts(config, _masked_files(config, pid)):
        words += ["--external", f"mnt[{destination}]:{destination}"]
    for name, _ in criu.external_namespaces(config):
        inode = os.stat(f"/proc/{pid}/ns/{name}").st_ino
        words += ["--external", f"{name}[{inode}]:{criu.namespace_key(name)}"]
    freezer = cgroups.open(state["cgroup"]).paths.get("freezer")
    if freezer:
        words += ["--freeze-cgroup", freezer]
    return words


def _masked_files(config: "Config", pid: int) -> "list[str]":
    """Return the masked paths that are files: over those lies the host's null device."""
    files = []
    for path in (config.get("linux") or {}).get("maskedPaths") or ():
        try:
            if stat.S_ISCHR(os.stat(f"/proc/{pid}/root{path}").st_mode):
                files.append(path)
        except OSError:
            continue
    return files
