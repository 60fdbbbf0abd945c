"""Namespaces, and what needs one of its own (config-linux.md#namespaces)."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

_LONGEST_NAME = 64  # __NEW_UTS_LEN of linux/utsname.h, in bytes


def types(config: "Config") -> "dict[str, str]":
    """Return the container's namespaces, type -> path ("" for a new one); the runtime's own are not in it."""
    return {entry["type"]: entry.get("path", "") for entry in config.get("linux", {}).get("namespaces", ())}


def namespaces(config: "Config") -> "Iterator[Error]":
    """No type is listed twice.

    Upholds config-linux.md#namespaces/type-once.
    """
    seen: dict[str, int] = {}
    for index, entry in enumerate(config.get("linux", {}).get("namespaces", ())):
        kind = entry["type"]
        if kind in seen:
            yield Error(
                f"the {kind} namespace is listed twice",
                f"linux.namespaces[{seen[kind]}] is of that type already",
                pointer=f"/linux/namespaces/{index}/type",
                value=kind,
                clause="config-linux.md#namespaces",
            )
        seen.setdefault(kind, index)


def names_need_uts(config: "Config") -> "Iterator[Error]":
    """A hostname or domainname needs a UTS namespace of the container, as with runc: otherwise the host's would be set.

    The specification allows a runtime to set the host's name; here it is an error.
    """
    for name, value in (("hostname", config.get("hostname", "")), ("domainname", config.get("domainname", ""))):
        if value and "uts" not in types(config):
            yield Error(
                f"{name} is set, but the container has no UTS namespace",
                'expected a namespace of type "uts" in linux.namespaces: without one it would rename the host',
                pointer=f"/{name}",
                value=value,
                clause=f"config.md#{name}",
            )
        if any(letter < " " or letter == "\x7f" for letter in value):
            yield Error(
                f"{name} has a control character",
                "expected letters, digits, dots and dashes: hostname(7)",
                pointer=f"/{name}",
                value=value,
                clause=f"config.md#{name}",
            )
        if len(value.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
            yield Error(
                f"{name} is longer than the kernel takes",
                f"expected at most {_LONGEST_NAME} bytes",
                pointer=f"/{name}",
                value=value,
                clause=f"config.md#{name}",
            )


def time_offsets(config: "Config") -> "Iterator[Error]":
    """Offsets are set before the first process enters a time namespace, so only in a new one."""
    if not config["linux"]["timeOffsets"]:
        return
    path = types(config).get("time")
    if path is None:
        reason = 'expected a namespace of type "time" in linux.namespaces'
        yield Error(
            "linux.timeOffsets is set, but the container has no time namespace",
            reason,
            pointer="/linux/timeOffsets",
            clause="config-linux.md#offset-for-time-namespace",
        )
    elif path:
        yield Error(
            f"linux.timeOffsets is set, but the container joins the time namespace {path}",
            "expected offsets or a path, not both: offsets can be given to a new namespace only",
            pointer="/linux/timeOffsets",
            clause="config-linux.md#offset-for-time-namespace",
        )


def hidden_paths(config: "Config") -> "Iterator[Error]":
    """Paths are hidden by mounts, which in the runtime's own mount namespace would hide the host's."""
    linux = config["linux"]
    for name, paths, clause in (
        ("maskedPaths", linux.get("maskedPaths"), "config-linux.md#masked-paths"),
        ("readonlyPaths", linux.get("readonlyPaths"), "config-linux.md#readonly-paths"),
    ):
        if paths and "mount" not in types(config):
            yield Error(
                f"linux.{name} is set, but the container has no mount namespace",
                'expected a namespace of type "mount" in linux.namespaces: without one it would change the host',
                pointer=f"/linux/{name}",
                clause=clause,
            )
