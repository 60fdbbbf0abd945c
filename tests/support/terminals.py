"""What tests share about terminals: the master that arrives at a console socket, and waiting for what it says."""

import array
import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios

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


# What `converse` talks to.
CONVERSATION = (
    "stty size; tty; trap 'echo interrupted; exit 9' INT; read line; echo got:$line; while :; do sleep 0.01; done"
)


def converse(command, begun=lambda started: None):
    """Talk at a terminal to `command`, which runs CONVERSATION at one of the container's own and passes it on.

    Size, echo, line editing and control keys are those of the container's terminal, and ours is in the end as it was.

    begun  called with the process when the script runs
    """
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    before = termios.tcgetattr(slave)
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as started:
        try:
            read_until(master, b"33 77\r\n/dev/pts/0\r\n")
            begun(started)
            os.write(master, b"hello\r")
            read_until(master, b"got:hello")
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 55, 0, 0))
            os.write(master, b"\x03")
            read_until(master, b"interrupted")
            assert started.wait(PATIENCE) == 9
            assert termios.tcgetattr(slave) == before
        finally:
            started.kill()
            os.close(master)
            os.close(slave)
