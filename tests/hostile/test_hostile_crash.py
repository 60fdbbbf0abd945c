"""The runtime killed between any two system calls: `state` is correct, and `delete --force` leaves nothing."""
# ruff: noqa: B023, F401, F811
# Fixtures are imported from host.py, and lambdas are called at once.

import json
import os
import signal
import subprocess
from pathlib import Path

import killing
import pytest
from host import host, keeper

from pyruntime.store.process import start_time

# How many places a verb is killed at, evenly over its system calls from where it first changes something.
POINTS = {"create": 30, "run": 15, "start": 12, "delete": 12, "kill": 3}


def ready(host, verb: str, bundle: Path, name: str) -> None:
    """Bring the container to where `verb` may be called."""
    if verb not in ("create", "run"):
        host.runtime("create", "-b", bundle, name)
    if verb == "delete":
        host.runtime("start", name)


def words(verb: str, bundle: Path, name: str) -> list[str]:
    """Return the command line of `verb`."""
    return {
        "create": ["create", "-b", str(bundle), "--pid-file", str(bundle / "pid"), name],
        "run": ["run", "--detach", "-b", str(bundle), name],
        "start": ["start", name],
        "delete": ["delete", "--force", name],
        "kill": ["kill", name, "KILL"],
    }[verb]


def processes(name: str) -> list[str]:
    """Return the processes of the container `name`: by cgroup, or by the command line of the runtime that made them."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            traces = [(process / file).read_bytes() for file in ("cgroup", "cmdline")] if process.name.isdigit() else []
        except OSError:
            continue  # it ended meanwhile
        # Without a command line it is a zombie.
        if traces and traces[1] and any(name.encode() in trace for trace in traces):
            found.append(f"{process.name} {traces[1].decode()}")
    return found


def cgroups(name: str) -> list[str]:
    """Return the control groups of the container `name`."""
    command = ["find", "/sys/fs/cgroup", "-mindepth", "2", "-name", f"*{name}*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def alive(pid: int) -> bool:
    """Tell whether the process `pid` runs; a zombie does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def check_state(host, name: str) -> None:
    """`state` is correct for a container that is missing, waits, runs or has ended."""
    result = host.runtime("state", name, check=False)
    if result.returncode != 0:
        assert "does not exist" in result.stderr, result.stderr
        assert not (host.runtime.root / name).exists()
        return
    said = json.loads(result.stdout)
    if said["status"] in ("created", "running") and not alive(said["pid"]):
        # Init ends when it reads the end of its connection, which may have been closed just now.
        said = json.loads(host.runtime("state", name).stdout)
        assert said["status"] == "stopped"
    assert said["status"] in ("creating", "created", "running", "stopped")
    assert said["status"] in ("created", "running") or said["pid"] == 0


def check_nothing_left(host, name: str) -> None:
    host.runtime("delete", "--force", name)
    assert not (host.runtime.root / name).exists()
    assert cgroups(name) == []
    assert processes(name) == []


@pytest.mark.parametrize("verb", POINTS)
def test_a_killed_runtime_leaves_a_container_that_can_be_deleted(host, bundle, verb, subtests):
    place = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    name = host.runtime.id()
    ready(host, verb, place, name)
    # What first changes something is taken from a run to the end; for a container that is there, after the lock.
    directory = host.runtime.root / name
    stops, first = killing.run(host.command(*words(verb, place, name)), begins=directory.exists)
    check_nothing_left(host, name)
    if verb not in ("create", "run"):
        first = stops // 2
    assert 0 < first < stops
    step = max((stops - first) // POINTS[verb], 1)
    for stop in range(first - 4, stops, step):
        with subtests.test(stop=stop):
            name = host.runtime.id()
            ready(host, verb, place, name)
            killing.run(host.command(*words(verb, place, name)), kill_at=stop)
            check_state(host, name)
            check_nothing_left(host, name)


# ---- delete --force while another verb hangs ----


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"])
def test_delete_by_force_ends_a_verb_that_hangs_in_a_hook(host, bundle, kind):
    def change(config) -> None:
        fifo = "/fifo" if kind == "startContainer" else str(host.outside.with_name("fifo"))
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo > {fifo}; sleep 1000 & wait"]}
        config["hooks"] = {kind: [hook]}
        config["process"]["args"] = ["sleep", "1000"]
        config["root"]["readonly"] = False

    place = bundle(change, own=True)
    fifo = place / "rootfs/fifo" if kind == "startContainer" else host.outside.with_name("fifo")
    os.mkfifo(fifo)
    name = host.runtime.id()
    with subprocess.Popen(
        host.command("run", "-b", place, name), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        fifo.read_text()  # ends when the hook is there
        host.runtime("delete", "--force", name, timeout=20)
        assert process.wait(20) != 0
    assert not (host.runtime.root / name).exists()
    assert cgroups(name) == [] and processes(name) == []


def test_delete_without_force_answers_while_start_waits_for_a_hook(host, bundle):
    fifo = host.outside.with_name("fifo")
    os.mkfifo(fifo)

    def change(config) -> None:
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo > {fifo}; read line < {fifo}"]}
        config["hooks"] = {"poststart": [hook]}
        config["process"]["args"] = ["sleep", "1000"]

    name = host.runtime.id()
    host.runtime("create", "-b", bundle(change), name)
    with subprocess.Popen(host.command("start", name), stdin=subprocess.DEVNULL) as start:
        fifo.read_text()  # ends when the hook is there
        result = host.runtime("delete", name, check=False, timeout=20)
        assert result.returncode == 1 and "it is running, not stopped" in result.stderr
        fifo.write_text("go on\n")
        assert start.wait(20) == 0
    assert json.loads(host.runtime("state", name).stdout)["status"] == "running"


def freeze(pid: int) -> None:
    """Freeze the groups of a process, by the freezer that the host has."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "freezer":
            Path(f"/sys/fs/cgroup/freezer{path}/freezer.state").write_text("FROZEN")
            return
    Path(f"/sys/fs/cgroup{path}/cgroup.freeze").write_text("1")


@pytest.mark.parametrize("hold", [lambda pid: os.kill(pid, signal.SIGSTOP), freeze], ids=["stopped", "frozen"])
def test_delete_by_force_ends_an_init_that_its_killed_creator_left(host, bundle, hold):
    """Until init is complete it has the container's lock too; stopped or frozen, it does not exit with its creator."""
    fifo = host.outside.with_name("fifo")
    os.mkfifo(fifo)
    script = f'sed "s/.*\\"pid\\": *\\([0-9]*\\).*/\\1/" > {fifo}; read line < {fifo}'

    def change(config) -> None:
        config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}

    name = host.runtime.id()
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with subprocess.Popen(host.command("create", "-b", bundle(change), name), **null) as process:
        pid = int(fifo.read_text().split()[-1])
        hold(pid)
        process.kill()
    fifo.write_text("go on\n")
    host.runtime("delete", "--force", name, timeout=20)
    assert not (host.runtime.root / name).exists()
    assert cgroups(name) == [] and processes(name) == []


def test_delete_by_force_of_a_damaged_state_removes_it(host, bundle, subtests):
    for content in (
        b"",
        b"{",
        b'{"version": 1, "id": "x',
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 99}',
    ):
        with subtests.test(content=content[:20]):
            name = host.runtime.id()
            (host.runtime.root / name).mkdir(parents=True)
            (host.runtime.root / name / "state.json").write_bytes(content)
            result = host.runtime("state", name, check=False)
            assert result.returncode == 1 and "state.json" in result.stderr and "internal" not in result.stderr
            assert host.runtime("delete", name, check=False).returncode == 1
            host.runtime("delete", "--force", name)
            assert not (host.runtime.root / name).exists()


@pytest.fixture
def stranger():
    """Start a process that has nothing to do with any container, at another tick of the clock than the one given.

    A pid's process is known by the tick at which it started, of which there are a hundred a second (proc_pid_stat(5)).
    """
    started = []

    def start(tick: int) -> "subprocess.Popen[bytes]":
        while not started or start_time(started[-1].pid) == tick:
            started.append(subprocess.Popen(["sleep", "1000"]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_reused_pid_is_not_taken_for_the_container(host, bundle, stranger):
    name = host.runtime.id()
    host.runtime("create", "-b", bundle(), name)
    file = host.runtime.root / name / "state.json"
    stored = json.loads(file.read_text())
    other = stranger(stored["start_time"])
    os.kill(stored["pid"], 9)
    stored["pid"] = other.pid
    file.write_text(json.dumps(stored))
    assert json.loads(host.runtime("state", name).stdout)["status"] == "stopped"
    assert host.runtime("kill", name, "KILL", check=False).returncode == 1
    host.runtime("delete", "--force", name)
    assert other.poll() is None
