"""Finds files that a bundle's configuration names and this host does not have: notes of `validate`, never errors."""

import stat

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.spec.rules.mounts import is_bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

_MOST_LINKS = 40  # as many as the kernel follows: path_resolution(7)


def bundle_notes(bundle: str, config: "Config") -> "Iterator[Error]":
    """Yield a note for a root filesystem, a mount's source and a program that are not there.

    bundle  absolute path of the bundle's directory
    """
    root = os.path.join(bundle, config["root"]["path"])
    if not os.path.isdir(root):
        yield _missing("the root filesystem", root, "/root/path", "config.md#root")
    for index, mount in enumerate(config.get("mounts") or ()):
        if is_bind(mount):
            source = os.path.join(bundle, mount.get("source", ""))
            # An earlier mount may make what lies in the root filesystem.
            if not os.path.lexists(source) and not source.startswith(f"{root}/"):
                yield _missing("the source of a mount", source, f"/mounts/{index}/source", "config.md#mounts")
    if os.path.isdir(root) and "process" in config:
        yield from _program(root, config)


def _missing(what: str, path: str, at: str, clause: str) -> Error:
    return Error(f"{what} is not there", path, pointer=at, clause=clause)


def _program(root: str, config: "Config") -> "Iterator[Error]":
    """Yield a note where the program is found nowhere, unless a mount may bring it."""
    process = config["process"]
    program = process["args"][0]
    if "/" in program:
        candidates = [os.path.join(process["cwd"], program)]
    else:
        search = [entry[5:] for entry in process.get("env") or () if entry.startswith("PATH=")]
        candidates = [f"{folder or process['cwd']}/{program}" for folder in (search[-1].split(":") if search else [])]
    mounted = [os.path.normpath(mount["destination"]) for mount in config.get("mounts") or ()]
    reasons = []
    for candidate in candidates:
        if any(f"{os.path.normpath(candidate)}/".startswith(f"{place.rstrip('/')}/") for place in mounted):
            return
        found = _inside(root, candidate)
        try:
            status = os.stat(found) if found else None
        except OSError:
            status = None
        if status and stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
            return
        if status and stat.S_ISREG(status.st_mode):
            reasons.append(f"{candidate} has no permission to be executed")
    yield Error(
        f"the program {program!r} is not in the root filesystem",
        "; ".join(reasons) or f"looked for at {', '.join(candidates) or 'no place: PATH is not set'}",
        pointer="/process/args/0",
        clause="config.md#process",
    )


def _inside(root: str, path: str) -> str:
    """Return where `path` of the container leads below `root`, its links followed; "" where it leads nowhere."""
    parts = [part for part in reversed(path.split("/")) if part]
    place: list[str] = []
    links = 0
    while parts:
        part = parts.pop()
        if part in (".", ""):
            continue
        if part == "..":
            place = place[:-1]
            continue
        full = "/".join([root, *place, part])
        try:
            target = os.readlink(full)
        except OSError:
            place.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            return ""
        if target.startswith("/"):
            place = []
        parts += [one for one in reversed(target.split("/")) if one]
    return "/".join([root, *place])
