"""Where the mounts of the host are in a container that is checkpointed. CRIU finds mounts by these paths."""

import stat

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.engine.criu import external, inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.engine.criu.rpc import Message
    from pyruntime.spec.json_types import Config

_RESOLVE = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
# These have the same bits in mount_setattr(2) and in statvfs(3).
_ATTRIBUTES = {1: "ro", 2: "nosuid", 4: "nodev", 8: "noexec"}


def find(pid: int, config: "Config", groups: "dict[str, str]", doing: str) -> "list[Message]":
    """Return for each mount of the host where it is in the container of process `pid`, and its name in the images.

    groups  the container's cgroups: controller -> directory
    doing   for errors: "cannot checkpoint the container"

    A link of the image on the way leads to a place in the container. CRIU looks for the mount there, and keeps it under
    the name of the configuration, by which `restore` tells its source. The image chooses the links, and the container
    may rename the directories above a mount. Therefore no place has two names, and the mount at a place has the
    attributes that the configuration asks for: otherwise `restore` would take the source of one mount and the
    attributes of another one, and a read-only source could be written.

    Raises Error where that is not so.
    """
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _find(root, config, groups, doing)
    finally:
        os.close(root)


def _find(root: int, config: "Config", groups: "dict[str, str]", doing: str) -> "list[Message]":
    """Do as `find`, below the root directory of the process, a descriptor."""
    files = _masked_files(root, config)
    mounts = [*external.external_mounts(config, files), *external.cgroup_binds(config, groups)]
    on_links = external.on_links(config)
    attributes = dict(_attributes(config))
    named: dict[str, tuple[str, str]] = {}
    for destination, source in mounts:
        place, flags = _look(root, destination, destination in on_links)
        other = named.setdefault(place, (destination, source))
        if other[1] != source:
            raise Error(
                doing,
                f"the mounts of {other[0]!r} and of {destination!r} are both at {place!r} in the container",
                advice="CRIU cannot tell them apart",
            )
        missing = attributes.get(destination, 0) & ~flags
        if missing:
            words = ", ".join(word for bit, word in _ATTRIBUTES.items() if bit & missing)
            raise Error(doing, f"what is at {place!r} in the container is not the mount of {destination!r}: no {words}")
    return [external.pair(place, destination, doing) for place, (destination, _) in named.items()]


def _attributes(config: "Config") -> "Iterator[tuple[str, int]]":
    """Yield the destination of each bind mount, and the bits of _ATTRIBUTES that its last entry asks for."""
    for mount in config.get("mounts") or ():
        if pyruntime.spec.rules.mounts.is_bind(mount):
            options = pyruntime.plan.mount_flags.MountOptions(list(mount.get("options") or ()))
            yield mount["destination"], (options.attr_set | options.rec_set) & sum(_ATTRIBUTES)


def _look(root: int, destination: str, on_link: bool) -> "tuple[str, int]":
    """Return where `destination` leads to in the container, and the attributes of the mount there.

    on_link  the mount lies on a link itself

    What cannot be found, because another mount lies over it, keeps its name, and is not checked.
    """
    place = inside.find(root, destination, os.O_NOFOLLOW if on_link else 0, _RESOLVE)
    if place < 0:
        return destination, sum(_ATTRIBUTES)
    try:
        return os.readlink(f"/proc/self/fd/{place}"), os.fstatvfs(place).f_flag
    finally:
        os.close(place)


def _masked_files(root: int, config: "Config") -> "list[str]":
    """Return the masked paths that are files: the host's null device is mounted over them."""
    files = []
    for path in (config.get("linux") or {}).get("maskedPaths") or ():
        place = inside.find(root, path, 0, _RESOLVE)
        if place >= 0:
            if stat.S_ISCHR(os.fstat(place).st_mode):
                files.append(path)
            os.close(place)
    return files
