"""Finds what is at a path of a root filesystem."""

import errno

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import refused

_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EACCES, errno.ENAMETOOLONG)


def find(root: int, path: str, flags: int, resolve: int) -> int:
    """Return an O_PATH descriptor of what `path` leads to below the descriptor `root`, or -1 if that is nothing.

    flags    of open(2), beside O_PATH
    resolve  of openat2(2): how links are followed

    Raises Error if the kernel cannot tell, as without memory: that is not to be taken for nothing.
    """
    found: int = lib.pyr_openat2(root, os.fsencode(path), os.O_PATH | os.O_CLOEXEC | flags, 0, resolve)
    if found >= 0:
        return found
    if -found in _NOTHING:
        return -1
    raise refused("openat2", path, OSError(-found, os.strerror(-found)))
