"""The arguments of a sandbox, checked, as its parts need them."""

from dataclasses import dataclass
from typing import Any

LIMITS = ("memory", "cpus", "pids")


@dataclass(frozen=True)
class Settings:
    """The arguments of a sandbox, checked.

    memory, disk   bytes
    uid, gid       of the program, in the container
    mounts         (source, destination, writable)
    network        path of a network namespace to join, "" for a new one that leads nowhere
    range          which range of ids of the host is the container's, where this user may choose
    """

    memory: "int | None"
    cpus: "float | None"
    pids: "int | None"
    disk: int
    network: str
    uid: int
    gid: int
    env: "dict[str, str]"
    mounts: "tuple[tuple[str, str, bool], ...]"
    hide: "tuple[str, ...]"
    seccomp: "dict[str, Any] | None"
    landlock: bool
    hostname: str
    range: int
