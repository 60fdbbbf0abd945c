"""Makes mount points for `restore`, as `create` does: CRIU needs them to exist."""

import errno
import stat

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.engine.criu import inside
from pyruntime.spec.rules.mounts import container_path, is_bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.json_types import Config, Mount

_LINKS = 40  # as many as the kernel follows in a path (path_resolution(7))


def make(rootfs: int, config: "Config", bundle: str) -> None:
    """Make the missing places of the configuration's mounts below the descriptor `rootfs`.

    bundle  where the relative sources of bind mounts start

    A link leads to a place in the root filesystem, as for `create`. A place in a bind mount is made in its source; CRIU
    makes one on a tmpfs. If a file is in the way, or the filesystem is read-only, CRIU reports the missing place.
    """
    covered: dict[str, Mount] = {}
    for mount in config.get("mounts") or ():
        destination = container_path(mount["destination"])
        if "dest-nofollow" in (mount.get("options") or ()):
            folder, _, name = destination.rpartition("/")
            destination = f"{_resolved(rootfs, folder, covered)}/{name}"
        else:
            destination = _resolved(rootfs, destination, covered)
        above = destination
        while above and above not in covered:
            above = above.rpartition("/")[0]
        if not above:
            _make(rootfs, destination, _is_file(mount, bundle))
        elif above != destination and is_bind(covered[above]):
            source = _open(os.path.join(bundle, covered[above].get("source") or ""))
            if source >= 0:
                try:
                    _make(source, destination[len(above) :], _is_file(mount, bundle))
                finally:
                    os.close(source)
        covered[destination] = mount


def _resolved(rootfs: int, path: str, covered: "dict[str, Mount]") -> str:
    """Return where `path` leads to in the root filesystem, as far as that is not `covered` by mounts."""
    rest = path.split("/")[:0:-1]
    done, links = "", 0
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        if done in covered:
            return "/".join([done, part, *reversed(rest)])
        target = _link(rootfs, f"{done}/{part}")
        if not target or links == _LINKS:
            done = f"{done}/{part}"
            continue
        links += 1
        if target.startswith("/"):
            done = ""
        rest += target.split("/")[::-1]
    return done


def _link(rootfs: int, path: str) -> str:
    """Return where the link `path` below `rootfs` points to; "" for anything else."""
    fd = inside.find(rootfs, path[1:], os.O_NOFOLLOW, lib.RESOLVE_BENEATH)
    if fd < 0:
        return ""
    try:
        return os.readlink("", dir_fd=fd)
    except OSError:
        return ""
    finally:
        os.close(fd)


def _open(path: str) -> int:
    """Return a descriptor of the directory `path` of the host, or -1."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1


def _is_file(mount: "Mount", bundle: str) -> bool:
    try:
        return is_bind(mount) and not stat.S_ISDIR(os.stat(os.path.join(bundle, mount.get("source") or "")).st_mode)
    except OSError:
        return False


def _make(folder: int, destination: str, file: bool) -> None:
    """Make `destination` below the descriptor `folder`, through no link."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    parts = [part for part in destination.split("/") if part]
    here = os.dup(folder)
    try:
        for index, name in enumerate(parts):
            if file and index == len(parts) - 1:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=here))
                return
            try:
                os.mkdir(name, 0o755, dir_fd=here)
            except FileExistsError:
                pass
            below = os.open(name, flags, dir_fd=here)
            os.close(here)
            here = below
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
    finally:
        os.close(here)
