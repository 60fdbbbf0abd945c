"""Descriptors over Unix sockets: one comes with a message, and no other one stays open."""

import errno
import os
import socket

import pytest

from pyruntime._stub import lib


def open_descriptors():
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


@pytest.mark.parametrize("sent", [1, 2, 3])
def test_of_the_descriptors_of_a_message_only_the_first_is_taken(sent):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(theirs, [b"x"], [theirs.fileno()] * sent)
        before = open_descriptors()
        received = lib.pyr_recv_fd(ours.fileno())
        try:
            assert os.path.sameopenfile(received, theirs.fileno())
            assert open_descriptors() - before == {str(received)}
        finally:
            os.close(received)


def test_a_message_without_a_descriptor_is_an_error():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        assert lib.pyr_recv_fd(ours.fileno()) == -errno.ENOMSG
