"""Seals the interpreter for `python3 -m pyruntime`, as csrc/launcher/seal.c seals the installed program."""

import errno
import fcntl
import sys

from pyruntime.base import lean_os as os

# linux/memfd.h and linux/fcntl.h; the standard library has them only since 3.11, or not at all.
_MFD_EXEC = 0x10
_F_ADD_SEALS = 1033
_F_GET_SEALS = 1034
_F_SEAL_EXEC = 0x20
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # of seals, size (both ways) and contents


def ensure_sealed() -> None:
    """Return if this process runs from a sealed copy of its executable; otherwise execute one, and do not return.

    What /proc/self/exe shows must not be a writable file of the host when a container is entered (CVE-2019-5736).
    Raises OSError where no executable memfd can be had.
    """
    original = os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)
    if _is_sealed(original):
        os.close(original)
        return
    copy = _executable_memfd()
    while os.sendfile(copy, original, None, 1 << 30):
        pass
    try:
        os.call(fcntl.fcntl, copy, _F_ADD_SEALS, _SEALS | _F_SEAL_EXEC)
    except OSError:  # before Linux 6.3
        os.call(fcntl.fcntl, copy, _F_ADD_SEALS, _SEALS)
    # The interpreter finds its library and the virtual environment from the name it is called by.
    os.execve(copy, [sys.executable, *sys.orig_argv[1:]], os.environ)


def _is_sealed(file: int) -> bool:
    try:
        return os.call(fcntl.fcntl, file, _F_GET_SEALS) & _SEALS == _SEALS
    except OSError as error:
        if error.errno != errno.EINVAL:  # the answer for a file that cannot be sealed
            raise
        return False


def _executable_memfd() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("python", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:  # before Linux 6.3 they are always executable, and the flag is unknown
            raise
        return os.memfd_create("python", flags)
