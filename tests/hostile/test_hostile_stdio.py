"""Owners of the standard streams: one that the runtime did not make keeps its owner, unless it is a pipe or socket."""

import json
import os
import pty
import socket
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

USER = 1000
# Callers: containerd and conmon pass pipes and FIFOs, which the program may open again as /dev/stdout.
HANDED_OVER = {"a pipe", "a FIFO", "a socket"}
KINDS = [*sorted(HANDED_OVER), "a terminal", "a file", "a device"]


def of_user(config):
    config["process"].update(args=["sh", "-c", "while :; do sleep 1000; done"], user={"uid": USER, "gid": USER})


@pytest.fixture
def stream(request, tmp_path):
    """Descriptors of one kind of stream: (what the container gets, one that keeps it open)."""
    kind = request.param
    if kind == "a pipe":
        other, ours = os.pipe()
    elif kind == "a FIFO":
        os.mkfifo(tmp_path / "fifo", 0o600)
        other = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        ours = os.open(tmp_path / "fifo", os.O_WRONLY)
    elif kind == "a socket":
        other, ours = (end.detach() for end in socket.socketpair())
    elif kind == "a terminal":
        other, ours = pty.openpty()
    elif kind == "a file":
        other, ours = os.open("/", os.O_RDONLY), os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    else:
        other, ours = os.open("/", os.O_RDONLY), os.open("/dev/zero", os.O_RDWR)
    yield kind, ours
    os.close(other)
    os.close(ours)


@pytest.fixture
def verbs(runtime, bundle, tmp_path):
    """The verbs that make a process, each by its name: verb(stream) runs it to the end, on that stream."""
    place = bundle(of_user)
    running = runtime.id()
    runtime("run", "-d", "-b", place, running)
    short = bundle(lambda c: c["process"].update(args=["true"], user={"uid": USER, "gid": USER}))
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["/bin/true"], "cwd": "/", "user": {"uid": USER, "gid": USER}}))
    words = {
        "run": ["run", "-b", short, runtime.id()],
        "run --detach": ["run", "-d", "-b", short, runtime.id()],
        "create": ["create", "-b", short, runtime.id()],
        "exec": ["exec", running, "true"],
        "exec --detach": ["exec", "-d", running, "true"],
        "exec --process": ["exec", "-p", process, running],
    }

    def call(verb, stream):
        done = subprocess.run(
            runtime.command(*words[verb]),
            check=False,
            stdin=stream,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        assert done.returncode == 0

    return {verb: lambda stream, verb=verb: call(verb, stream) for verb in words}


@pytest.mark.parametrize("stream", KINDS, indirect=True)
def test_only_pipes_and_sockets_are_given_to_the_containers_user(verbs, stream, subtests):
    kind, ours = stream
    for verb, call in verbs.items():
        with subtests.test(verb):
            os.fchown(ours, 0, 0)
            call(ours)
            status = os.fstat(ours)
            assert (status.st_uid, status.st_gid) == (USER if kind in HANDED_OVER else 0, 0)


def test_the_null_device_of_the_host_keeps_its_owner_and_mode(verbs):
    def looks():
        status = os.stat("/dev/null")
        return status.st_uid, status.st_gid, status.st_mode

    before = looks()
    for call in verbs.values():
        with open(os.devnull, "r+b") as null:
            call(null)
    assert looks() == before


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
def test_a_hook_changes_nothing_about_the_callers_terminal(runtime, bundle, kind):
    def change(config):
        config["process"].update(args=["true"], user={"uid": USER, "gid": USER})
        config["hooks"] = {kind: [{"path": "/bin/true"}]}

    master, slave = pty.openpty()
    try:
        command = runtime.command("run", "-b", bundle(change), runtime.id())
        done = subprocess.run(command, check=False, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        assert done.returncode == 0
        assert os.fstat(slave).st_uid == 0
    finally:
        os.close(master)
        os.close(slave)
