"""What a service manager passes on through `create`, `start` and `run`; pidfd sockets; and orphans of the container."""

import json
import os
import socket
import subprocess

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# The program takes LISTEN_* only where they are meant for its own process.
FOR_ITSELF = ["sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh"]


@pytest.fixture
def manager(tmp_path):
    """A service manager's notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "manager"))
        sock.settimeout(30)
        yield sock


def notifying(config):
    # busybox has no tool for datagrams to Unix sockets: the test sends them in place of the container.
    config["process"]["args"] = ["sh", "-c", "echo $NOTIFY_SOCKET; ls $NOTIFY_SOCKET; exec sleep 1000"]
    config["root"]["readonly"] = False


def answer(manager):
    """Receive one message, and close the descriptor that came with it, which ends the barrier."""
    message, descriptors, _, _ = socket.recv_fds(manager, 4096, 1)
    for fd in descriptors:
        os.close(fd)
    return message


def say(runtime, container, text):
    """Send `text` to the container's socket, from outside."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        directory = os.open(runtime.root / container / "notify", os.O_PATH)
        sock.sendto(text, f"/proc/self/fd/{directory}/notify.sock")
        os.close(directory)


@pytest.mark.parametrize("how", ["run", "run --detach", "start"])
def test_a_ready_container_is_told_to_the_service_manager(runtime, bundle, manager, how):
    container, path = runtime.id(), bundle(notifying, own=True)
    environment = {**os.environ, "NOTIFY_SOCKET": manager.getsockname()}
    if how == "start":
        runtime("create", "-b", path, container, env=environment)
        words = ["start", container]
    else:
        words = [*how.split(), "-b", path, container]
    pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(runtime.command(*words), env=environment, **pipe) as process:
        if how != "start":
            inside = process.stdout.readline().decode().strip()
            assert inside == "/run/notify/notify.sock"
            assert process.stdout.readline().decode().strip() == inside
        else:
            while not (runtime.root / container / "notify/notify.sock").exists():
                assert process.poll() is None
        assert process.poll() is None  # it waits for the container to be ready
        say(runtime, container, b"STATUS=nearly\n")
        say(runtime, container, b"STATUS=there\nREADY=1\n")
        assert answer(manager) == b"READY=1\n"
        main = process.pid if how == "run" else json.loads(runtime("state", container).stdout)["pid"]
        assert answer(manager) == b"MAINPID=%d\n" % main
        assert answer(manager) == b"BARRIER=1"
        if how == "run":
            runtime("kill", container, "KILL")
        assert process.wait(timeout=30) == (137 if how == "run" else 0)
    runtime("delete", "--force", container)
    assert not (runtime.root / container).exists()


def test_start_does_not_wait_for_a_container_that_ends_without_being_ready(runtime, bundle, manager):
    def change(config):
        notifying(config)
        config["process"]["args"] = ["true"]

    environment = {**os.environ, "NOTIFY_SOCKET": manager.getsockname()}
    runtime("run", "-b", bundle(change, own=True), runtime.id(), env=environment)
    runtime("run", "-d", "-b", bundle(change, own=True), runtime.id(), env=environment)


def listening(config):
    config["process"]["args"] = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4"]


@pytest.mark.parametrize("verb", ["run", "create"])
def test_listening_sockets_come_first_then_preserved_descriptors(runtime, bundle, tmp_path, verb):
    for name in ("first", "second"):
        (tmp_path / name).write_text(f"{name}\n")
    shell = f'exec 3<{tmp_path}/first 4<{tmp_path}/second; exec "$@"'
    prefix = ["sh", "-c", shell, "sh", *FOR_ITSELF]
    container = runtime.id()
    words = runtime.command(verb, "--preserve-fds", "1", "-b", bundle(listening), container)
    environment = {**os.environ, "LISTEN_FDS": "1"}
    output = tmp_path / "output"
    with output.open("wb") as file:
        subprocess.run([*prefix, *words], env=environment, stdin=subprocess.DEVNULL, stdout=file, check=True)
        if verb == "create":
            runtime("start", container)
            until(lambda: json.loads(runtime("state", container).stdout)["status"] == "stopped", "its end")
    assert output.read_text() == "1 1\nfirst\nsecond\n"


def test_sockets_for_another_process_are_not_passed_on(runtime, bundle):
    def change(config):
        config["process"]["args"] = ["sh", "-c", "echo ${LISTEN_FDS-none}"]

    environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    assert runtime("run", "-b", bundle(change), runtime.id(), env=environment).stdout == "none\n"


@pytest.fixture
def taker(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(tmp_path / "pidfd"))
        sock.listen()
        sock.settimeout(30)
        yield sock


def taken_pid(taker):
    """Return the message that came with a pidfd, and which process that is of."""
    connection, _ = taker.accept()
    with connection:
        message, (fd,), _, _ = socket.recv_fds(connection, 100, 1)
    with open(fd), open(f"/proc/self/fdinfo/{fd}") as info:
        return message, int(next(line for line in info if line.startswith("Pid:")).split()[1])


def sleeper(config):
    config["process"]["args"] = ["sleep", "1000"]


def test_pidfd_sockets_of_create_run_and_exec(runtime, bundle, taker):
    address = taker.getsockname()
    for words in (["create"], ["run", "-d"]):
        container = runtime.id()
        runtime(*words, "--pidfd-socket", address, "-b", bundle(sleeper), container)
        assert taken_pid(taker) == (b"standard", json.loads(runtime("state", container).stdout)["pid"])
    runtime("exec", "-d", "--pidfd-socket", address, container, "sleep", "1000")
    message, pid = taken_pid(taker)
    assert message == b"setns"
    assert pid in json.loads(runtime("ps", "-f", "json", container).stdout)


def test_without_anybody_at_the_pidfd_socket_nothing_is_made(runtime, bundle, tmp_path):
    container = runtime.id()
    done = runtime("run", "-d", "--pidfd-socket", tmp_path / "none", "-b", bundle(sleeper), container, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr
    assert "does not exist" in runtime("state", container, check=False).stderr


@pytest.mark.parametrize("subreaper", [True, False])
def test_orphans_of_the_container_are_adopted_in_the_foreground_unless_told_not_to(runtime, bundle, subreaper):
    def change(config):
        spaces = config["linux"]["namespaces"]
        config["linux"]["namespaces"] = [space for space in spaces if space["type"] != "pid"]
        # The number is said only when the orphan's parent has ended; the shell takes its stdin away, but not this copy.
        orphan = "$(sh -c 'read go <&3; exit 9' >/dev/null & echo $!)"
        config["process"]["args"] = ["sh", "-c", f"exec 3<&0; echo {orphan}; read go; exit 3"]

    container = runtime.id()
    words = ["run", *([] if subreaper else ["--no-subreaper"]), "-b", bundle(change), container]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(runtime.command(*words), **pipe) as process:
        orphan = int(process.stdout.readline())
        with open(f"/proc/{orphan}/stat") as stat:
            parent = int(stat.read().rpartition(")")[2].split()[1])
        assert (parent == process.pid) == subreaper
        process.communicate(b"go\ngo\n", timeout=30)
        assert process.returncode == 3  # not the orphan's 9
