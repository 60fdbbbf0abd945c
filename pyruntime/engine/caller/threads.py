"""Refuses to make a container in a process with several threads.

A clone has only the calling thread, and the locks that the others hold stay locked in it (clone(2)).
"""

import sys

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error


def check_single() -> None:
    """Raise Error if this process has other threads. The program has none, and does not check."""
    # The program imports `os` only if a rare case needs a library.
    if "os" not in sys.modules:
        return
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise Error(
            "cannot make a container in a process with several threads",
            f"this one has {threads}: the container's first process would be a clone with one of them, and with the "
            "locks that the others hold",
            advice="take pyruntime.Sandbox, which starts the program; or call this in a process of its own",
        )
