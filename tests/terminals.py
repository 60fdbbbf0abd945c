"""What tests share about terminals: the master that arrives at a console socket, and waiting for what it says."""

import array
import os
import select
import socket

PATIENCE = 30  # seconds for something that must happen


def receive(connection):
    """Return (text, descriptor) of the one message with a descriptor that comes over `connection`, which is closed."""
    with connection:
        fds = array.array("i")
        text, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
        fds.frombytes(control[0][2])
    return text, fds[0]


def take_terminal(listener):
    """Return the terminal's master that is sent to the listening console socket `listener`."""
    listener.settimeout(PATIENCE)
    name, master = receive(listener.accept()[0])
    assert name
    return master


def read_until(fd, text):
    """Return what the terminal with master `fd` says, up to `text`."""
    seen = b""
    while text not in seen:
        assert select.select([fd], [], [], PATIENCE)[0], f"{text!r} did not appear after {seen!r}"
        seen += os.read(fd, 65536)
    return seen
