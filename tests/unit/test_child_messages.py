"""What the host believes of messages that somebody sends in the name of the container's process."""

import json
import os
import socket
import subprocess
import types

import pytest

from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.engine.child import launch
from pyruntime.engine.child.child import Child
from pyruntime.protocol import messages


@pytest.fixture
def child():
    """A child that ends at once, as the intermediate process does, and the other end of the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(["true"])
    held = Child(ours.detach(), types.SimpleNamespace(paths={}))
    held.pid, held.pidfd = process.pid, os.pidfd_open(process.pid)
    held.alone = True
    with theirs:
        yield held, theirs
    process.wait()
    held.close()


def plan():
    return types.SimpleNamespace(maps=None, limits=[], steps=list)


def test_only_a_child_goes_on(child):
    """Anybody else would be killed when the container is given up."""
    held, theirs = child
    stranger = int(subprocess.run(["sh", "-c", "sleep 1000 >/dev/null & echo $!"], stdout=-1, check=True).stdout)
    theirs.send(b"P%d" % stranger)
    with pytest.raises(Error, match="the container's process failed"):
        launch.go_on(held, plan())
    held.kill()
    os.kill(stranger, 0)
    os.kill(stranger, 9)


@pytest.mark.parametrize("text", [b"P", b"Pxyz", b"P-1", b"P1 ", b"P" + b"9" * 5000])
def test_a_pid_is_a_number(child, text):
    held, theirs = child
    theirs.send(text)
    with pytest.raises(Error, match="the container's process failed"):
        launch.go_on(held, plan())


def test_only_the_intermediate_process_asks_for_room(child):
    held, theirs = child
    held.alone = False
    theirs.send(bytes([lib.MESSAGE_CROWDED]))
    with pytest.raises(Error, match="the container's process failed"):
        launch.expect(held, plan(), messages.READY)


@pytest.mark.parametrize(
    "fields", [[], {}, {"errno": "x"}, {"pointer": 5}, {"step": "s", "doing": 1}, {"log": None}, {"step": 10**9}]
)
def test_a_report_of_the_wrong_types_is_nonsense(fields):
    whole = json.loads(messages.encode_error(Error("cannot", "because", pointer="/a", step="s", errno=1), plan())[1:])
    changed = {**whole, **fields} if fields else fields
    error = messages.decode_error(messages.FAILED + json.dumps(changed).encode(), plan())
    assert error.reason == "its message makes no sense"


def test_what_the_child_never_sets_is_set_whatever_it_says():
    limits = [types.SimpleNamespace(op=op) for op in ("prlimit", "oom_score_adj", "prlimit")]
    said = types.SimpleNamespace(limits=limits)
    assert launch.left(b"R\x02", said) == limits[1:]
