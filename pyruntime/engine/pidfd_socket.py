"""The socket of --pidfd-socket: whoever listens there gets a pidfd of the new process (pidfd_open(2))."""

from pyruntime import os
from pyruntime._stub import lib
from pyruntime.engine.console import open_socket
from pyruntime.errors import Error

# The message beside the descriptor: what kind of process it is, in runc's words.
INIT, EXEC = b"standard", b"setns"


def send(path: str, pidfd: int, kind: bytes) -> None:
    """Send `pidfd` to whoever listens at `path`. Raises Error."""
    sock = open_socket(path)
    if sock < 0:
        raise Error(f"cannot connect to the pidfd socket {path}", errno=-sock)
    try:
        sent = lib.pyr_send_fd(sock, pidfd, kind, len(kind))
    finally:
        os.close(sock)
    if sent < 0:
        raise Error(f"cannot send the pidfd to {path}", errno=-sent)
