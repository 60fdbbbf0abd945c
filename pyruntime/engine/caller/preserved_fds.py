"""The descriptors that the caller passes on to the container's process (--preserve-fds, runc's option; no clause)."""

import errno
import fcntl

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error


def check_preserved(count: int) -> None:
    """Raise Error unless the `count` descriptors from 3 on are the caller's: the container must not get ours.

    The runtime's own descriptors have FD_CLOEXEC; those that it inherited do not. Closing the runtime's at execve would
    be too late: the container's working directory could be named /proc/self/fd/3 (CVE-2024-21626).
    """
    for fd in range(3, 3 + count):
        try:
            ours = os.call(fcntl.fcntl, fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            ours = 1
        if ours:
            raise Error(f"cannot preserve descriptor {fd}", "--preserve-fds", errno=errno.EBADF)
