"""Makes mount points in the root filesystem for `restore`, as `create` does: CRIU needs them to exist."""

import errno
import stat

from pyruntime.base import lean_os as os
from pyruntime.spec.rules.mounts import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.json_types import Config, Mount


def make(rootfs: int, config: "Config", bundle: str) -> None:
    """Make the missing places of the configuration's mounts below the descriptor `rootfs`, and through no link.

    bundle  where the relative sources of bind mounts start

    A place on a tmpfs or in another mount is not the root filesystem's: CRIU makes the one, and the other has it. Where
    a link or a file is on the way, or nothing can be written, CRIU says what it misses.
    """
    covered: set[str] = set()
    for mount in config.get("mounts") or ():
        destination = container_path(mount["destination"])
        above = destination
        while above and above not in covered:
            above = above.rpartition("/")[0]
        if not above:
            _make(rootfs, destination, _is_file(mount, bundle))
        covered.add(destination)


def _is_file(mount: "Mount", bundle: str) -> bool:
    bound = mount.get("type") == "bind" or {"bind", "rbind"} & set(mount.get("options") or ())
    try:
        return bool(bound) and not stat.S_ISDIR(os.stat(os.path.join(bundle, mount.get("source") or "")).st_mode)
    except OSError:
        return False


def _make(rootfs: int, destination: str, file: bool) -> None:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    parts = [part for part in destination.split("/") if part]
    here = os.dup(rootfs)
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
