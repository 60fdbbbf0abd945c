"""The parts of a container that are not in its images: mounts of the host, joined namespaces, its standard streams."""

import _stat as stat

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.criu.options import CriuOptions
    from pyruntime.engine.criu.rpc import Message
    from pyruntime.spec.json_types import Config

_CGROUP = ("cgroup", "cgroup2")
_STREAMS = "descriptors.json"
_MOST_OF_STREAMS = 1 << 20  # characters; three names take a few hundred


def external_mounts(config: "Config", masked_files: "list[str]") -> "list[tuple[str, str]]":
    """Return the mounts whose content is outside of the container: (destination, source), for CRIU to find them again.

    masked_files  masked paths over which the host's null device lies
    """
    mounts = [
        (mount["destination"], mount.get("source") or "")
        for mount in config.get("mounts") or ()
        if pyruntime.spec.rules.mounts.is_bind(mount) and "remount" not in (mount.get("options") or ())
    ]
    return mounts + [(path, "/dev/null") for path in masked_files] + [(path, path) for path in _bound_devices(config)]


def pair(key: str, value: str, doing: str) -> "Message":
    """Return the name of a mount and what CRIU is told about it. Raises Error for what CRIU would read otherwise.

    doing  for errors: "cannot checkpoint the container"

    CRIU writes both as "mnt[KEY]:VALUE", and takes the first "]:" for the end of the key (CVE-2026-119614).
    """
    for text in (key, value):
        if "]:" in text:
            raise Error(doing, f'CRIU misreads the path of a mount with "]:" in it: {text!r}')
    return {"key": key, "val": value}


def on_links(config: "Config") -> "set[str]":
    """Return the destinations whose mounts are on links of the image themselves (the option dest-nofollow)."""
    return {
        mount["destination"] for mount in config.get("mounts") or () if "dest-nofollow" in (mount.get("options") or ())
    }


def cgroup_binds(config: "Config", paths: "dict[str, str]") -> "list[tuple[str, str]]":
    """Return the hierarchies that a mount of type cgroup shows by bind mounts: (place, directory on the host).

    paths  the container's groups: controller -> directory
    Without a cgroup namespace they are the host's own mounts; within one CRIU mounts them anew.
    """
    entries = [(index, mount) for index, mount in enumerate(config.get("mounts") or ()) if mount.get("type") in _CGROUP]
    if not entries:
        return []
    host = pyruntime.host.cgroups.detect()
    roots = {**host.mounts, "": host.unified}
    groups = {name: (roots[name], paths[name].removeprefix(roots[name])) for name in roots if name in paths}
    # A container that runs in the caller's groups has no group of its own.
    groups = {name: groups.get(name, (root, "")) for name, root in roots.items() if root}
    plan = pyruntime.plan.cgroup.cgroup.CgroupPlan(host.mode, "", groups, [], [], False)
    return [
        (step.args["path"], step.args["source"])
        for index, mount in entries
        if not pyruntime.spec.rules.mounts.is_bind(mount)
        for step in pyruntime.plan.cgroup.mounts.expand(
            index, mount, pyruntime.spec.rules.mounts.container_path(mount["destination"]), config, host, plan
        )
        if step.op == "bind"
    ]


def _bound_devices(config: "Config") -> "list[str]":
    """Return the devices that are the host's own, mounted: in a user namespace none can be made."""
    linux = config.get("linux") or {}
    if not any(entry["type"] == "user" for entry in linux.get("namespaces") or ()):
        return []
    return [
        *dict.fromkeys(
            [*pyruntime.plan.devices.DEFAULT_DEVICES, *(device["path"] for device in linux.get("devices") or ())]
        )
    ]


def external_namespaces(config: "Config") -> "list[tuple[str, str]]":
    """Return the namespaces that the container has joined, which CRIU need not save: (name, path)."""
    return [(name, path) for name, path in _joined(config) if name in ("net", "pid")]


def namespaces_to_join(config: "Config") -> "list[dict[str, str]]":
    """Return the other namespaces that a restored container joins, as CRIU takes them. Raises Error."""
    found = []
    for name, path in _joined(config):
        if name == "cgroup":
            raise Error("cannot restore the container", "CRIU cannot join a cgroup namespace")
        if name not in ("net", "pid"):
            found.append({"ns": name, "ns_file": path})
    return found


def _joined(config: "Config") -> "list[tuple[str, str]]":
    names = {"network": "net", "mount": "mnt"}
    return [
        (names.get(entry["type"], entry["type"]), entry["path"])
        for entry in (config.get("linux") or {}).get("namespaces") or ()
        if entry.get("path")
    ]


def namespace_key(name: str) -> str:
    """Return what an external namespace is called in the images; runc calls it so, too."""
    return f"extRoot{name.capitalize()}NS"


def save_streams(options: "CriuOptions", pid: int) -> None:
    """Save beside the images what stdin, stdout and stderr of process `pid` are, as runc does. Raises Error."""
    try:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(f"{options.images}/{_STREAMS}", flags, 0o644), "w") as file:
            file.write(pyruntime.base.jsonio.dumps(names))
    except OSError as error:
        raise Error(f"cannot write {options.images}/{_STREAMS}", errno=error.errno or 0) from None


def streams(options: "CriuOptions") -> "list[str]":
    """Return what `save_streams` has saved. Raises Error if there is no such file: then there are no images either."""
    path = f"{options.images}/{_STREAMS}"
    try:
        # The directory may be anybody's: no FIFO is waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is not a regular file")
            names: Any = pyruntime.base.jsonio.loads(file.read(_MOST_OF_STREAMS))
    except (OSError, ValueError) as error:
        raise Error(f"cannot read {path}", str(error), advice="is --image-path what checkpoint was given?") from None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
