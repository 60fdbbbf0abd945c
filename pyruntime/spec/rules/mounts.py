"""Mounts whose properties depend on each other (config.md#mounts)."""

from pyruntime.errors import Error
from pyruntime.spec.rules.users import overlaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.types import Config, Mount


def mounts(config: "Config") -> "Iterator[Error]":
    """A bind mount has a source, a copy of what is there is made into a tmpfs, and nothing is mounted over the root.

    An idmapped mount has both mappings, or a user namespace to take them from.
    """
    for index, mount in enumerate(config.get("mounts", ())):
        at = f"/mounts/{index}"
        options = mount.get("options", [])
        bind = "bind" in options or "rbind" in options or mount.get("type") == "bind"
        if "remount" not in options and _is_root(mount["destination"]):
            yield Error(
                f"mounts[{index}] is over the root of the container",
                "root.path names the root filesystem",
                pointer=f"{at}/destination",
                value=mount["destination"],
                clause="config.md#mounts",
            )
        if "tmpcopyup" in options and not bind and "remount" not in options and mount.get("type") != "tmpfs":
            yield Error(
                f"mounts[{index}] has the option tmpcopyup",
                "expected it with a tmpfs alone",
                pointer=f"{at}/options/{options.index('tmpcopyup')}",
                value=mount.get("type"),
                clause="config.md#linux-mount-options",
            )
        if bind and "remount" not in options and not mount.get("source"):
            yield Error(
                f"mounts[{index}] is a bind mount without source",
                "expected the file or directory to bind",
                pointer=f"{at}/source",
                clause="config.md#mounts",
            )
        if "uidMappings" in mount or "gidMappings" in mount:
            yield from _mappings(mount, index)
        elif "idmap" in options or "ridmap" in options:
            yield from _implied(config, options, index)


def _is_root(path: str) -> bool:
    depth = 0
    for part in path.split("/"):
        if part == "..":
            depth = max(depth - 1, 0)
        elif part not in ("", "."):
            depth += 1
    return not depth


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


def _implied(config: "Config", options: "list[str]", index: int) -> "Iterator[Error]":
    """Without mappings of its own, an idmapped mount takes the container's.

    Upholds config.md#linux-mount-options/idmap-without-mappings.
    """
    if not any(namespace["type"] == "user" for namespace in config.get("linux", {}).get("namespaces", ())):
        option = "idmap" if "idmap" in options else "ridmap"
        yield Error(
            f"mounts[{index}] has the option {option} but no mapping",
            "expected uidMappings and gidMappings in the mount, or a user namespace to take them from",
            pointer=f"/mounts/{index}/options/{options.index(option)}",
            value=option,
            clause="config.md#linux-mount-options",
        )
