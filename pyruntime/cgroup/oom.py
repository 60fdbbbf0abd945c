"""Detects that a container runs out of memory: by eventfd on v1 (memory.rst), by memory.events on v2."""

import select

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup.cgroup import Cgroup
from pyruntime.cgroup.files import CLAUSE, UNIFIED, read_file
from pyruntime.cgroup.stats_values import table

# memory.limit_in_bytes without a limit is the largest multiple of the page size, which differs between machines.
_UNLIMITED = 1 << 60

# How long the kernel may take to tell that a group of v1 was removed, in ms; it is some 10.
_REMOVED = 1000


def kills(paths: "dict[str, str]") -> int:
    """Return how many processes of a group the kernel has killed for lack of memory; 0 if it does not count them.

    paths  controller -> directory of the group
    """
    for controller, file in (("memory", "memory.oom_control"), (UNIFIED, "memory.events")):
        if controller in paths:
            try:
                return table(f"{paths[controller]}/{file}").get("oom_kill", 0)
            except OSError:
                continue
    return 0


def warn(paths: "dict[str, str]") -> None:
    """Print a warning if the kernel has killed a process of the group for lack of memory.

    paths  as in `kills`
    """
    count = kills(paths)
    if count:
        processes = "a process" if count == 1 else f"{count} processes"
        log.warning(f"the kernel has killed {processes} of the container for lack of memory: {_limit(paths)}")


def _limit(paths: "dict[str, str]") -> str:
    """Return what limits the memory of a group; `paths` as in `kills`."""
    for controller, file in (("memory", "memory.limit_in_bytes"), (UNIFIED, "memory.max")):
        try:
            limit = read_file(f"{paths[controller]}/{file}").strip()
        except (KeyError, OSError):
            continue
        if limit.isdecimal() and int(limit) < _UNLIMITED:
            return f"its limit is {limit} bytes (/linux/resources/memory/limit, config-linux.md#memory)"
    return "it has no limit of its own, so a cgroup above it or the host has too little"


class OomNotices:
    """Notices of one container's group; `close` when done.

    fd, events  descriptor and events to poll for
    """

    def __init__(self, cgroup: Cgroup) -> None:
        """Register for notices. Raises Error if the group has no memory controller."""
        self._control = -1
        self._path = ""
        self._seen = 0
        directory = cgroup.paths.get("memory")
        try:
            if directory:
                self.events = select.POLLIN
                self._path = f"{directory}/cgroup.event_control"
                self._control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
                self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                with open(self._path, "wb", 0) as file:
                    file.write(f"{self.fd} {self._control}".encode())
            else:
                self.events = select.POLLPRI
                self._path = f"{cgroup.paths.get(UNIFIED, '')}/memory.events"
                # The file is read once before it is polled: the kernel reports changes since the last read.
                self.fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                os.read(self.fd, 4096)
                self._seen = table(self._path).get("oom_kill", 0)
        except OSError as error:
            raise Error(f"cannot watch {self._path}", clause=CLAUSE, errno=error.errno or 0) from None

    def take(self) -> int:
        """Return how many times the container ran out of memory since the last call.

        Waits only for what the kernel is about to tell of a group that was removed.
        """
        if self._control >= 0:
            try:
                count = os.eventfd_read(self.fd)
            except BlockingIOError:
                return 0
            if os.access(self._path, os.F_OK):
                return count
            # The removal of the group is one more event. It comes some time after the directory has gone.
            poller = select.poll()
            poller.register(self.fd, self.events)
            if poller.poll(_REMOVED):
                count += os.eventfd_read(self.fd)
            return count - 1
        try:
            os.pread(self.fd, 4096, 0)
        except OSError:
            return 0  # the group is gone
        before, self._seen = self._seen, table(self._path).get("oom_kill", self._seen)
        return self._seen - before

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self.fd, self._control):
            if fd >= 0:
                os.close(fd)
