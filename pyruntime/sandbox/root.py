"""The root filesystem of a sandbox: a skeleton of empty directories and links, over which the root's own are bound.

So every directory below it is read-only with all that is mounted below it, and what the sandbox mounts has its place,
whatever the root is. Of the host's root only the software is there.
"""

import os
import stat
from pathlib import Path
from typing import Any

from pyruntime.sandbox import arguments

# Directories of the host's root with its software. All others (homes, services' data, sockets) are left out.
SOFTWARE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "gnu")
# Directories that the sandbox makes itself.
WORKSPACE = "/work"
OWN = ("proc", "dev", "tmp", "run", "sys", WORKSPACE[1:])
AGENT = "/run/pyruntime/agent"

_BIND = ("rbind", "rro", "nosuid", "nodev")


def find(root: object) -> str:
    """Return the absolute path of a root directory. Raises ValueError."""
    path = os.path.abspath(arguments.text("root", root))
    if not os.path.isdir(path):
        raise ValueError(f"root: {path!r:.200} is not a directory")
    return path


def entries(root: str) -> "tuple[list[str], dict[str, str]]":
    """Return the directories of a root that are bound, and its links with what they say. Raises ValueError."""
    directories, links = [], {}
    try:
        with os.scandir(root) as found:
            for entry in found:
                if entry.name in OWN or (root == "/" and entry.name not in SOFTWARE):
                    continue
                if entry.is_symlink():
                    links[entry.name] = os.readlink(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
    except OSError as error:
        raise ValueError(f"root: cannot read {root!r:.200}: {error.strerror}") from None
    return sorted(directories), links


def user(root: str, name: object) -> "tuple[int, int]":
    """Return uid and gid of a user: a number, "UID:GID", or a name of the root's /etc/passwd. Raises ValueError."""
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    text = arguments.text("user", name)
    uid, colon, gid = text.partition(":")
    if uid.isdecimal() and (not colon or gid.isdecimal()):
        found = int(uid), int(gid or uid)
        if max(found) > MOST_IDS - 1:
            raise ValueError(f"user: ids go from 0 to {MOST_IDS - 1}, not {text!r:.80}")
        return found
    for line in _passwd(root).split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 3 and fields[0] == os.fsencode(text) and fields[2].isdigit() and fields[3].isdigit():
            found = int(fields[2]), int(fields[3])
            if max(found) < MOST_IDS:
                return found
    if text == "nobody":
        return NOBODY, NOBODY
    raise ValueError(f"user: {text!r:.80} is not in /etc/passwd of the root, nor a number")


MOST_IDS = 65536
NOBODY = 65534


def _passwd(root: str) -> bytes:
    """Return the root's list of users; nothing where it is no plain file: an image may have a link there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(os.path.join(root, "etc"), flags | os.O_DIRECTORY)
    except OSError:
        return b""
    try:
        fd = os.open("passwd", flags | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return b""
    finally:
        os.close(folder)
    with open(fd, "rb") as file:
        return file.read(1 << 20) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


def skeleton(place: Path, root: str, mounts: "tuple[tuple[str, str, bool], ...]") -> "list[dict[str, Any]]":
    """Make the skeleton in `place`, and return the binds of the root's directories.

    mounts  (source, destination, …) of what else is mounted, each of which has to have a place

    Raises ValueError for a destination that has none: below a directory of the root, which cannot be written.
    """
    directories, links = entries(root)
    for name in (*directories, *OWN):
        (place / name).mkdir(parents=True)
    for name, target in links.items():
        (place / name).symlink_to(target)
    (place / AGENT[1:]).parent.mkdir(parents=True)
    (place / AGENT[1:]).touch()
    for source, destination, _ in mounts:
        first = destination.split("/")[1]
        inside = Path(root, destination[1:])
        if first in directories:
            if not os.path.lexists(inside):
                raise ValueError(f"mounts: {destination!r:.200} is not in the root, which cannot be written")
        elif first in links:
            raise ValueError(f"mounts: /{first} of {destination!r:.200} is a link in the root; name where it leads")
        elif first not in OWN:
            spot = place / destination[1:]
            if os.path.isdir(source):
                spot.mkdir(parents=True, exist_ok=True)
            else:
                spot.parent.mkdir(parents=True, exist_ok=True)
                spot.touch()
    return [
        {"destination": f"/{name}", "type": "bind", "source": os.path.join(root, name), "options": list(_BIND)}
        for name in directories
    ]
