"""Device nodes and the links in /dev (config-linux.md#devices, runtime-linux.md#dev-symbolic-links)."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.plan.step import Step
from pyruntime.spec.rules.mounts import container_path, is_bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import IDMapping

CLAUSE = "config-linux.md#devices"
DEFAULTS_CLAUSE = "config-linux.md#default-devices"
LINKS_CLAUSE = "runtime-linux.md#dev-symbolic-links"

# Path -> major, minor. All of them character devices that everyone may read and write.
DEFAULT_DEVICES = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}

# Link -> what it names; made where that exists.
_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}

_S_IFCHR, _S_IFBLK, _S_IFIFO = 0o020000, 0o060000, 0o010000
_KINDS = {"c": _S_IFCHR, "u": _S_IFCHR, "b": _S_IFBLK, "p": _S_IFIFO}


def devices(context: "Context") -> "Iterator[Step]":
    """Yield the configured devices, the other default ones, and the links; nothing where /dev is the host's.

    Upholds runtime-linux.md#dev-symbolic-links/links, config-linux.md#devices/available,
    config-linux.md#default-devices/supplied.
    """
    mounts = context.config.get("mounts") or ()
    if any(is_bind(mount) and container_path(mount["destination"]) == "/dev" for mount in mounts):
        return
    linux = context.config.get("linux") or {}
    configured = linux.get("devices") or []
    named = {container_path(device["path"]) for device in configured}
    for path, (major, minor) in DEFAULT_DEVICES.items():
        if path not in named:
            yield _node(context, "", DEFAULTS_CLAUSE, path, _S_IFCHR | 0o666, os.makedev(major, minor), 0, 0)
    for index, device in enumerate(configured):
        mode = _KINDS[device["type"]] | (device.get("fileMode", 0o666) & 0o7777)
        number = 0 if device["type"] == "p" else os.makedev(device["major"], device["minor"])
        yield _node(
            context,
            f"/linux/devices/{index}",
            CLAUSE,
            container_path(device["path"]),
            mode,
            number,
            device.get("uid", 0),
            device.get("gid", 0),
        )
    for path, target in _LINKS.items():
        yield Step("symlink", "", LINKS_CLAUSE, path=path, source=target, flags=lib.STEP_IF_PRESENT)
    yield Step("symlink", "", DEFAULTS_CLAUSE, path="/dev/ptmx", source="pts/ptmx", flags=lib.STEP_REPLACE)


def _node(context: "Context", pointer: str, clause: str, path: str, mode: int, dev: int, uid: int, gid: int) -> Step:
    """Return the step that supplies a node.

    It is made by the child. In a user namespace, where the kernel forbids that, the host makes a configured one for it
    if it can, with the owner as the user namespace maps it; otherwise the host's own node is bound.
    """
    if context.can_mknod or not mode & _S_IFCHR:
        return Step("mknod", pointer, clause, path=path, mode=mode, dev=dev, uid=uid, gid=gid)
    bound = Step(
        "bind",
        pointer,
        clause,
        path=path,
        source=path,
        flags=lib.STEP_DEVICE,
        mode=mode,
        dev=dev,
        host_tree=context.foreign_mounts,
    )
    linux = context.config.get("linux") or {}
    if not context.facts.in_user_namespace and any(entry["hostID"] == 0 for entry in linux.get("uidMappings") or ()):
        # The host's root owns it, is a user of the container here, and could change its mode and owner.
        bound.args["attr_set"] = lib.MOUNT_ATTR_RDONLY
    if not pointer:
        return bound
    owner = _host_id(linux.get("uidMappings"), uid), _host_id(linux.get("gidMappings"), gid)
    facts = context.facts
    possible = facts.holds("CAP_MKNOD") and facts.holds("CAP_SYS_ADMIN") and not facts.in_user_namespace
    if possible and context.new_namespace("user") and min(owner) >= 0:
        bound.args.update(flags=lib.STEP_DEVICE | lib.STEP_MADE, uid=owner[0], gid=owner[1])
        bound.args.pop("attr_set", None)
    elif {"fileMode", "uid", "gid"} & {*linux["devices"][int(pointer.rpartition("/")[2])]}:
        context.warnings.append(
            f"{path} is the host's own device, with owner and mode as they are there ({pointer}, {clause})"
        )
    return bound


def _host_id(mappings: "list[IDMapping] | None", number: int) -> int:
    """Return the id on the host to which `mappings` map the container's id `number`; -1 if they do not map it."""
    for entry in mappings or ():
        if 0 <= number - entry["containerID"] < entry["size"]:
            return entry["hostID"] + number - entry["containerID"]
    return -1


def console(context: "Context", *, mounted: bool = True) -> "Iterator[Step]":
    """Yield the pseudoterminal if the process has a terminal; its slave is bound to /dev/console if `mounted`.

    Upholds config-linux.md#default-devices/supplied.
    """
    process = context.config.get("process") or {}
    if process.get("terminal"):
        path = {"path": "/dev/console"} if mounted else {}
        yield Step("console", "/process/terminal", "config.md#process", **path, uid=context.user["uid"])
