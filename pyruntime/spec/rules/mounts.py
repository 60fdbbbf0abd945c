"""Mounts whose properties depend on each other (config.md#mounts)."""

from pyruntime.base.errors import Error
from pyruntime.spec.rules.namespaces import types
from pyruntime.spec.rules.users import overlaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Mount

# Files of procfs over which LXCFS, or CRIU inside a container, mounts its own.
# csrc/stub/mount_targets.c has the same list, and docs/mounts.md the reasons.
SERVED = (
    *("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"),
    *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
)

_NEW_ONLY = "expected one without the other: the kernel maps the owners of a new mount only"


def mounts(config: "Config") -> "Iterator[Error]":
    """A bind mount has a source, a new filesystem a type, and only a tmpfs can get a copy of the files below it.

    Nothing is mounted over the root, nor over what is at /proc. An idmapped mount is a new one, and has both mappings,
    or a user namespace to take them from.
    """
    first_proc = -1
    destinations = [container_path(mount["destination"]) for mount in config["mounts"]]
    if config["root"]["path"][:1] == "/":  # another is relative to the bundle, which a document does not name
        yield from through_root(destinations, config["root"]["path"])
    for index, mount in enumerate(config["mounts"]):
        at = f"/mounts/{index}"
        options = mount.get("options", [])
        bind = is_bind(mount)
        new = "remount" not in options
        destination = destinations[index]
        if new and destination == "/proc":
            yield from _over_proc(mount, index, first_proc, bind=bind)
            first_proc = index if first_proc < 0 else first_proc
        elif new and destination[:6] == "/proc/" and destination[6:] not in SERVED:
            yield Error(
                f"mounts[{index}] is inside /proc",
                f"expected one of its files that others may serve: {', '.join(SERVED)}",
                pointer=f"{at}/destination",
                value=mount["destination"],
                clause="config.md#mounts",
            )
        elif new and destination == "/":
            yield Error(
                f"mounts[{index}] is over the root of the container",
                "root.path names the root filesystem",
                pointer=f"{at}/destination",
                value=mount["destination"],
                clause="config.md#mounts",
            )
        if new and not bind and not mount.get("type"):
            yield Error(
                f"mounts[{index}] is not a bind mount and has no type",
                "expected the type of the filesystem to mount",
                pointer=f"{at}/type",
                value=mount.get("type"),
                clause="config.md#posix-platform-mounts",
            )
        elif new and "tmpcopyup" in options and (bind or mount["type"] != "tmpfs"):
            yield Error(
                f"mounts[{index}] has the option tmpcopyup",
                "expected it with a tmpfs alone",
                pointer=f"{at}/options/{options.index('tmpcopyup')}",
                value="bind" if bind else mount["type"],
                clause="config.md#linux-mount-options",
            )
        if new and bind and not mount.get("source"):
            yield Error(
                f"mounts[{index}] is a bind mount without source",
                "expected the file or directory to bind",
                pointer=f"{at}/source",
                clause="config.md#mounts",
            )
        if "uidMappings" in mount or "gidMappings" in mount:
            yield from _mappings(mount, index)
        idmap = next((option for option in options if option.partition("=")[0] in ("idmap", "ridmap")), "")
        if idmap:
            yield from _idmapped(config, mount, index, idmap)
        elif not new and (mount.get("uidMappings") or mount.get("gidMappings")):
            yield Error(
                f"mounts[{index}] has mappings and the option remount",
                _NEW_ONLY,
                pointer=f"{at}/options/{options.index('remount')}",
                value="remount",
                clause="config.md#linux-mount-options",
            )


def through_root(destinations: "list[str]", root: str) -> "Iterator[Error]":
    """No destination has the path of the root filesystem in front.

    runc strips this prefix and other runtimes do not, so such a mount would be at different places.

    destinations  of /mounts, as container_path gives them
    root          absolute path of the root filesystem
    """
    front = f"{container_path(root)}/"
    size = len(front)
    for index, destination in enumerate(destinations):
        if destination[:size] == front and size > len("//"):
            yield Error(
                f"the destination of mounts[{index}] begins with the path of the root filesystem",
                "expected a path inside the container",
                pointer=f"/mounts/{index}/destination",
                value=destination,
                clause="config.md#mounts",
                advice=f"did you mean {destination[size - 1 :]}?",
            )


def is_bind(mount: "Mount") -> bool:
    """Tell whether `mount` is a bind mount: by option as the spec says, or by type as runc's callers write it.

    Upholds config.md#linux-mount-options/option-bind, config.md#linux-mount-options/option-rbind.
    """
    options = mount.get("options") or ()
    return "bind" in options or "rbind" in options or mount.get("type") == "bind"


def container_path(path: str) -> str:
    """Return `path` as an absolute path without "." and "..", as the container will see it.

    A relative destination is deprecated and means relative to "/" (config.md#mounts).

    Upholds config.md#mounts/destination-relative.
    """
    if path[:1] == "/" != path[-1:] and "//" not in path and "/." not in path:
        return path  # as nearly all are
    parts = [part for part in path.split("/") if part not in ("", ".")]
    while ".." in parts:
        above = parts.index("..")
        del parts[max(above - 1, 0) : above + 1]
    return "/" + "/".join(parts)


def _over_proc(mount: "Mount", index: int, first: int, *, bind: bool) -> "Iterator[Error]":
    """At /proc there is one procfs, so that masked and read-only paths hold and programs read the kernel's files.

    The stub checks whether the source of a bind mount is a procfs.
    """
    if first >= 0:
        doing, reason = f"mounts[{index}] is over mounts[{first}]", "expected one mount at /proc"
    elif not bind and mount.get("type") not in (None, "", "proc"):
        doing, reason = f"mounts[{index}] is over /proc", "expected a procfs there"
    else:
        return
    yield Error(
        doing,
        f"{reason}: what is hidden and protected must be in what the container sees",
        pointer=f"/mounts/{index}/destination",
        value=mount["destination"],
        clause="config.md#mounts",
    )


def _mappings(mount: "Mount", index: int) -> "Iterator[Error]":
    """Mappings come in pairs.

    Upholds config.md#posix-platform-mounts/mappings-in-pairs.
    """
    clause = "config.md#posix-platform-mounts"
    uids, gids = mount.get("uidMappings", []), mount.get("gidMappings", [])
    for one, mappings, other, others in (
        ("uidMappings", uids, "gidMappings", gids),
        ("gidMappings", gids, "uidMappings", uids),
    ):
        if mappings and not others:
            yield Error(
                f"mounts[{index}] has {one} without {other}",
                "expected both or neither",
                pointer=f"/mounts/{index}/{other}",
                clause=clause,
            )
        yield from overlaps(mappings, f"/mounts/{index}/{one}", clause)


def _idmapped(config: "Config", mount: "Mount", index: int, option: str) -> "Iterator[Error]":
    """Only a new mount is idmapped; without mappings of its own it takes the container's.

    Upholds config.md#linux-mount-options/idmap-without-mappings.
    """
    options = mount["options"]
    if "remount" in options:
        lacks, reason = "and the option remount", _NEW_ONLY
    elif "=" in option or mount.get("uidMappings") or mount.get("gidMappings") or "user" in types(config):
        return
    else:
        lacks = "but no mapping"
        reason = "expected uidMappings and gidMappings in the mount, or a user namespace to take them from"
    yield Error(
        f"mounts[{index}] has the option {option} {lacks}",
        reason,
        pointer=f"/mounts/{index}/options/{options.index(option)}",
        value=option,
        clause="config.md#linux-mount-options",
    )
