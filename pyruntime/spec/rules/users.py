"""User namespace mappings (config-linux.md#user-namespace-mappings)."""

from pyruntime.errors import Error
from pyruntime.spec.rules.namespaces import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyruntime.spec.types import Config, IDMapping

CLAUSE = "config-linux.md#user-namespace-mappings"
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


def overlaps(entries: "Sequence[IDMapping]", at: str, clause: str) -> "Iterator[Error]":
    """Yield where mappings run past the last id or overlap, inside or outside: user_namespaces(7) forbids both."""
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
