"""Namespaces, user namespace mappings and time offsets (config-linux.md#namespaces, #user-namespace-mappings)."""

from pyruntime._stub import lib
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import IDMapping

CLAUSE = "config-linux.md#namespaces"
MAPPINGS_CLAUSE = "config-linux.md#user-namespace-mappings"
OFFSETS_CLAUSE = "config-linux.md#offset-for-time-namespace"

# The spec's name of each type -> its flag for clone(2) and setns(2), and its file under /proc/PID/ns.
TYPES = {
    "pid": (lib.CLONE_NEWPID, "pid"),
    "network": (lib.CLONE_NEWNET, "net"),
    "mount": (lib.CLONE_NEWNS, "mnt"),
    "ipc": (lib.CLONE_NEWIPC, "ipc"),
    "uts": (lib.CLONE_NEWUTS, "uts"),
    "user": (lib.CLONE_NEWUSER, "user"),
    "cgroup": (lib.CLONE_NEWCGROUP, "cgroup"),
    "time": (lib.CLONE_NEWTIME, "time"),
}


def namespaces(context: "Context") -> "Iterator[Step]":
    """Yield "clone" for each namespace to make and "setns" for each to join; a type not listed is inherited.

    Upholds config-linux.md#namespaces/types-supported, config-linux.md#namespaces/path-joined,
    config-linux.md#namespaces/no-path-is-new, config-linux.md#namespaces/unlisted-inherited.
    """
    linux = context.config.get("linux") or {}
    for index, entry in enumerate(linux.get("namespaces") or ()):
        pointer = f"/linux/namespaces/{index}"
        path = entry.get("path")
        if path:
            yield Step("setns", pointer, CLAUSE, namespace=entry["type"], path=path)
        else:
            yield Step("clone", pointer, CLAUSE, namespace=entry["type"])


def mapping_text(mappings: "list[IDMapping]") -> str:
    """Return `mappings` as /proc/PID/uid_map and gid_map take them (user_namespaces(7))."""
    return "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings)


def id_maps(context: "Context") -> "Iterator[Step]":
    """Yield the steps that write the maps of a new user namespace."""
    if not context.new_namespace("user"):
        return
    linux = context.config.get("linux") or {}
    for name, mappings in (("uid", linux.get("uidMappings")), ("gid", linux.get("gidMappings"))):
        if mappings:
            yield Step(f"{name}_map", f"/linux/{name}Mappings", MAPPINGS_CLAUSE, text=mapping_text(mappings))


def time_offsets(context: "Context") -> "Iterator[Step]":
    """Yield the steps that write the clocks' offsets, before a process is in the namespace (time_namespaces(7))."""
    linux = context.config.get("linux") or {}
    offsets = linux.get("timeOffsets") or {}
    if offsets and context.new_namespace("time"):
        text = "".join(
            f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n" for clock, offset in offsets.items()
        )
        yield Step("timens_offsets", "/linux/timeOffsets", OFFSETS_CLAUSE, text=text)
