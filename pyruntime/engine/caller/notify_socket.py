"""Passes NOTIFY_SOCKET and LISTEN_FDS, which a service manager gives to a service, on to the container.

The container sends its notification (sd_notify(3)) to the runtime's socket ROOT/ID/notify/notify.sock, which is mounted
at /run/notify in the container. The runtime passes READY=1 on to the service manager. Sockets that the service manager
has opened (sd_listen_fds(3)) become the container's descriptors from 3 on.
"""

import _socket
import select

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.store.container import NOTIFY_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.spec.json_types import Config
    from pyruntime.store.container import Container

_INSIDE = "/run/notify"
_SOCKET = "notify.sock"
_BARRIER = 30.0  # seconds in which the service manager must read the message, as with runc


def listened() -> int:
    """Return how many sockets the service manager has opened for this very process."""
    count = os.environ.get("LISTEN_FDS", "")
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    return int(count) if ours and count.isascii() and count.isdigit() and len(count) < 6 else 0


def notifies() -> bool:
    """Tell whether the service manager waits for a notification."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def passed_on(config: "Config", directory: str) -> "Config":
    """Return `config` with the environment and the mount of the notify socket's directory for its process.

    directory  where the container's state will be
    """
    changed: Any = dict(config)
    environment = []
    if notifies():
        mount = {
            "destination": _INSIDE,
            "type": "bind",
            "source": f"{directory}/{NOTIFY_DIRECTORY}",
            "options": ["bind", "nosuid", "noexec", "nodev", "ro"],
        }
        changed["mounts"] = [*(config.get("mounts") or ()), mount]
        environment.append(f"NOTIFY_SOCKET={_INSIDE}/{_SOCKET}")
    count = listened()
    if count:
        environment += [f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    process = config.get("process")
    if process:
        changed["process"] = {**process, "env": [*(process.get("env") or ()), *environment]}
    result: Config = changed
    return result


def make_directory(container: "Container") -> None:
    """Make the directory of the notify socket. Raises Error."""
    try:
        os.mkdir(NOTIFY_DIRECTORY, 0o755, dir_fd=container.fd)
        # The container's users need it, whatever the caller's umask.
        os.chmod(NOTIFY_DIRECTORY, 0o755, dir_fd=container.fd)
    except OSError as error:
        raise Error(f"cannot make {container.path}/{NOTIFY_DIRECTORY}", errno=error.errno or 0) from None


class Relay:
    """The host's end of the container's notify socket."""

    def __init__(self, container: "Container", pid: int) -> None:
        """Bind the socket of the container whose init is `pid`. Raises Error."""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        # A socket's address holds only 107 bytes of path.
        address = f"/proc/self/fd/{container.fd}/{NOTIFY_DIRECTORY}/{_SOCKET}"
        # The container's users send to it. No chmod: by then the container may have put a link in its place.
        umask = os.umask(0)
        try:
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise Error(f"cannot make {container.path}/{NOTIFY_DIRECTORY}/{_SOCKET}", errno=error.errno or 0) from None
        finally:
            os.umask(umask)
        self._pidfd = lib.pyr_pidfd_open(pid)

    def forward(self, main_pid: int) -> None:
        """Wait until the container is ready or has ended; name `main_pid` to the service manager as main process."""
        try:
            ready = self._wait()
            if ready:
                _tell(ready, main_pid)
        except OSError as error:
            log.warning(f"cannot pass the container's notification on: {error}")
        finally:
            self._socket.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)

    def _wait(self) -> bytes:
        """Return the line with READY=1 that the container sent; b"" if it has ended without sending one."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        if self._pidfd >= 0:
            poll.register(self._pidfd, select.POLLIN)
        while True:
            events = [fd for fd, _ in os.call(poll.poll)]
            if self._socket.fileno() not in events:
                return b""
            for line in self._socket.recv(4096).split(b"\n"):
                if line.startswith(b"READY="):
                    return bytes(line)


def _tell(ready: bytes, main_pid: int) -> None:
    """Pass the line on, name the process to watch, and wait until the service manager has read both.

    Raises OSError.
    """
    host = os.environb[b"NOTIFY_SOCKET"]
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    barrier, theirs = os.pipe()
    try:
        client.connect(b"\0" + host[1:] if host.startswith(b"@") else host)
        client.send(ready + b"\n")
        client.send(b"MAINPID=%d\n" % main_pid)
        # The service manager closes the pipe when it has read them (sd_notify_barrier(3)).
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, theirs.to_bytes(4, "little"))
        client.sendmsg([b"BARRIER=1"], [rights])
        os.close(theirs)
        theirs = -1
        poll = select.poll()
        poll.register(barrier, select.POLLIN)
        if not os.call(poll.poll, _BARRIER * 1000):
            log.warning(f"the service manager does not answer within {_BARRIER:.0f} s")
    finally:
        client.close()
        os.close(barrier)
        if theirs >= 0:
            os.close(theirs)
