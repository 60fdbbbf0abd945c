"""User namespace mappings (config-linux.md#user-namespace-mappings)."""

from pyruntime.base.errors import Error
from pyruntime.spec.rules.namespaces import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyruntime.spec.json_types import Config, Device, IDMapping, Linux, User

CLAUSE = "config-linux.md#user-namespace-mappings"
_ROOT: "User" = {"uid": 0, "gid": 0}
_MOST = 340
_END = 2**32 - 1  # ids go up to 2**32 - 2


def mappings(config: "Config") -> "Iterator[Error]":
    """Mappings need a user namespace; a new one needs mappings of both kinds; ranges do not overlap."""
    linux = config.get("linux", {})
    path = types(config).get("user")
    for name, entries in (("uidMappings", linux.get("uidMappings", [])), ("gidMappings", linux.get("gidMappings", []))):
        if entries and path is None:
            yield Error(
                f"linux.{name} is set, but the container has no user namespace",
                'expected a namespace of type "user" in linux.namespaces',
                pointer=f"/linux/{name}",
                clause=CLAUSE,
            )
        if not entries and path == "":
            yield Error(
                f"the container has a new user namespace without linux.{name}",
                "expected at least one mapping: without any, no id of the container is valid",
                pointer=f"/linux/{name}",
                clause=CLAUSE,
            )
        yield from overlaps(entries, f"/linux/{name}", CLAUSE)


def process_user(config: "Config") -> "Iterator[Error]":
    """The process's user and groups exist in the user namespace that the container gets."""
    if "process" in config and types(config).get("user") == "":
        process = config["process"]
        yield from unmapped(process.get("user", _ROOT), config["linux"], "/process/user")


def unmapped(
    user: "User | Device",
    linux: "Linux",
    at: str,
    owner: str = "process.user",
    clause: str = "config.md#posix-platform-user",
) -> "Iterator[Error]":
    """Yield which ids of `user`, found at the pointer `at`, no mapping covers: setuid(2) refuses them with EINVAL.

    owner  what errors call it
    """
    for name, maps in (("uid", "uidMappings"), ("gid", "gidMappings"), ("additionalGids", "gidMappings")):
        value: int | list[int] = user.get(name, [])  # type: ignore[assignment]
        mappings: list[IDMapping] = linux.get(maps, [])  # type: ignore[assignment]
        if not mappings:  # an error by itself
            continue
        several = isinstance(value, list)
        for index, number in enumerate(value if isinstance(value, list) else [value]):
            if not any(entry["containerID"] <= number < entry["containerID"] + entry["size"] for entry in mappings):
                place = f"{at}/{name}/{index}" if several else f"{at}/{name}"
                yield Error(
                    f"{owner}.{name} has {number}" if several else f"{owner}.{name} is {number}",
                    f"expected an id that linux.{maps} maps: the container's user namespace has no other",
                    pointer=at if user is _ROOT else place,
                    value=number,
                    clause=clause,
                )


def overlaps(entries: "Sequence[IDMapping]", at: str, clause: str) -> "Iterator[Error]":
    """Yield where mappings are too many, run past the last id or overlap: user_namespaces(7) forbids all three."""
    if len(entries) > _MOST:
        yield Error(
            f"there are {len(entries)} mappings",
            f"expected at most {_MOST}: the kernel takes no more",
            pointer=f"{at}/{_MOST}",
            value=entries[_MOST],
            clause=clause,
        )
    for index, entry in enumerate(entries):
        for side, first in (("containerID", entry["containerID"]), ("hostID", entry["hostID"])):
            if first + entry["size"] > _END:
                yield Error(
                    f"the mapping of {entry['size']} ids from {side} {first} ends past the last id",
                    f"expected {side} + size to be at most {_END}",
                    pointer=f"{at}/{index}",
                    value=entry,
                    clause=clause,
                )
    if len(entries) < 2:
        return
    for side, firsts in (
        ("containerID", [entry["containerID"] for entry in entries]),
        ("hostID", [entry["hostID"] for entry in entries]),
    ):
        end = before = 0
        for first, index in sorted(zip(firsts, range(len(entries)), strict=True)):
            if first < end:
                later = max(before, index)
                yield Error(
                    f"two mappings have the {side} {first}",
                    f"entries {min(before, index)} and {later} overlap",
                    pointer=f"{at}/{later}",
                    value=entries[later],
                    clause=clause,
                )
            if first + entries[index]["size"] > end:
                end, before = first + entries[index]["size"], index
