"""The socket of --pidfd-socket, to which a pidfd of the new process is sent (pidfd_open(2))."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.engine.caller.console_socket import open_socket

# The message beside the descriptor: what kind of process it is, in runc's words.
INIT, EXEC = b"standard", b"setns"


def send(path: str, pidfd: int, kind: bytes) -> None:
    """Send `pidfd` to the socket at `path`. Raises Error."""
    sock = open_socket(path)
    if sock < 0:
        raise Error(f"cannot connect to the pidfd socket {path}", errno=-sock)
    try:
        sent = lib.pyr_send_fd(sock, pidfd, kind, len(kind))
    finally:
        os.close(sock)
    if sent < 0:
        raise Error(f"cannot send the pidfd to {path}", errno=-sent)
    if log.events is not None:
        log.events.done(f"send a pidfd to {path}")
