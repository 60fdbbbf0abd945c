"""The first moment of a process of exec that others in its pid namespace can see: all that confines it is in force."""

import contextlib
import json
import os
import select
import subprocess
from pathlib import Path

import pytest
from host import attacker

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TIMEOUT = 30
ROUNDS = 12
MOST_ROUNDS = 1000
USER = 5


catcher = attacker("catcher")


class Caught:
    """A process that is stopped before its program, and what the kernel says of it."""

    def __init__(self, pid, caller):
        self.pid = pid
        self.caller = caller
        self.place = Path(f"/proc/{pid}")
        self.cgroup = self.read("cgroup")
        _, _, numbers = self.read("stat").rpartition(") ")
        self.group, self.session, self.terminal = (int(number) for number in numbers.split()[2:5])
        self.owner = (self.place / "stat").stat().st_uid

    def read(self, name):
        return (self.place / name).read_text()


def visible_child(pid):
    """Return the child of process `pid` that is in a pid namespace below this one; None if there is none."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            status = Path(f"/proc/{child}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the intermediate process has ended
        if len(next(line for line in status if line.startswith("NSpid:")).split()) > 2:  # its name and two pids
            return int(child)
    return None


def before_its_program(pid):
    return "busybox" not in os.readlink(f"/proc/{pid}/exe")


@contextlib.contextmanager
def lying_in_wait(container, catcher):
    """Run the catcher in the container's pid namespace."""
    command = ["nsenter", "--target", str(container.pid), "--pid", str(catcher)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as lurker:
        try:
            assert lurker.stdout.readline() == b"ready\n"
            yield lurker
        finally:
            lurker.kill()


def catch(container, catcher, options, look, words=("true",)):
    """exec again and again; call `look` with each process that is caught before its program. Return their number."""
    count = rounds = 0
    command = container.containers.runtime.command("exec", *options, container.id, *words)
    while rounds < ROUNDS or (not count and rounds < MOST_ROUNDS):
        rounds += 1
        with (
            lying_in_wait(container, catcher) as lurker,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as going,
        ):
            ended = os.pidfd_open(going.pid)
            try:
                ready, _, _ = select.select([lurker.stdout, ended], [], [], TIMEOUT)
                assert ready
                if lurker.stdout in ready:
                    lurker.stdout.readline()
                    pid = visible_child(going.pid)
                    if pid is not None and before_its_program(pid):
                        count += 1
                        look(Caught(pid, going.pid))
            finally:
                lurker.kill()  # which lets the process go on
                os.close(ended)
            assert going.wait(TIMEOUT) == 0
    return count


def user_namespace(config):
    config["linux"]["namespaces"].append({"type": "user"})
    entry = {"containerID": 0, "hostID": 100000, "size": 65536}
    config["linux"].update(uidMappings=[entry], gidMappings=[dict(entry)])


def of_a_file(tmp_path):
    process = {"args": ["/bin/true"], "cwd": "/", "user": {"uid": USER, "gid": USER}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    return ["--process", tmp_path / "process.json"]


WAYS = {
    "plain": ([], lambda tmp_path: []),
    "another user": ([], lambda tmp_path: ["--user", f"{USER}:{USER}"]),
    "a terminal": ([], lambda tmp_path: ["--tty"]),
    "a user namespace": ([user_namespace], lambda tmp_path: []),
    "a user namespace and another user": ([user_namespace], lambda tmp_path: ["--user", f"{USER}:{USER}"]),
    "a file": ([], of_a_file),
}


@pytest.fixture(params=WAYS)
def way(request, tmp_path):
    """How the process is made: the changes of the container's configuration, and the options of exec."""
    changes, options = WAYS[request.param]
    return changes, options(tmp_path)


def crowded(config):
    """One process more is all that the limit allows, so that the intermediate one has no place of its own."""
    config["linux"].setdefault("resources", {})["pids"] = {"limit": 2}


def tight(config):
    """So little memory that init joins the group that limits it only when it is ready."""
    config["linux"].setdefault("resources", {})["memory"] = {"limit": 3 << 20}


@pytest.mark.parametrize("change", [None, crowded, tight], ids=["", "crowded", "tight"])
def test_the_process_is_in_the_containers_groups(containers, catcher, way, change):
    """Otherwise children of it would never be in them."""
    changes, options = way
    container = containers.create(*changes, *filter(None, [change]), script="exec sleep 1000")
    container.start()
    groups = container.proc("cgroup").read_text()

    def look(caught):
        assert caught.cgroup == groups

    words = () if "--process" in options else ("true",)
    assert catch(container, catcher, options, look, words)


def kernel_memory(container):
    """The bytes of the kernel's memory that are charged to the container."""
    groups = container.cgroups()
    group = groups.get("memory", groups.get(""))
    if (group / "memory.kmem.usage_in_bytes").exists():
        return int((group / "memory.kmem.usage_in_bytes").read_text())
    words = (group / "memory.stat").read_text().split()
    if "kernel" not in words:
        pytest.skip("memory.stat has no sum of the kernel's memory")
    return int(words[words.index("kernel") + 1])


def test_the_fork_is_not_charged_to_a_small_group(containers, catcher):
    """Its kernel memory is more than 90 KiB; that of the container's init is 50 KiB."""
    container = containers.create(tight, script="exec sleep 1000")
    container.start()
    seen = []

    def look(caught):
        seen.append(kernel_memory(container))

    assert catch(container, catcher, [], look)
    # What others have left is charged until the kernel frees it.
    assert min(seen) < 100 << 10


LIMITS = {"RLIMIT_FSIZE": 100000, "RLIMIT_NPROC": 50, "RLIMIT_NOFILE": 200, "RLIMIT_CORE": 0}
NAMES = {"RLIMIT_FSIZE": "file size", "RLIMIT_NPROC": "processes", "RLIMIT_NOFILE": "open files", "RLIMIT_CORE": "core"}
SCORE = 500


def limited(config):
    limits = [{"type": name, "soft": value, "hard": value} for name, value in LIMITS.items()]
    config["process"].update(rlimits=limits, oomScoreAdj=SCORE)


def test_the_process_has_its_limits(containers, catcher, way):
    """Otherwise a child of it would never have them."""
    changes, options = way
    container = containers.create(*changes, limited, script="exec sleep 1000")
    container.start()
    if "--process" in options:
        path = options[1]
        path.write_text(json.dumps({**json.loads(path.read_text()), "oomScoreAdj": SCORE}))

    def look(caught):
        lines = caught.read("limits").splitlines()
        for name, value in LIMITS.items():
            (line,) = [line for line in lines if line.startswith(f"Max {NAMES[name]}")]
            # The process and the intermediate one may be two too many for a limit of processes.
            most = value + 2 if name == "RLIMIT_NPROC" else value
            assert all(word.isdigit() and int(word) <= most for word in line[26:].split()[:2]), line
        assert int(caught.read("oom_score_adj")) == SCORE

    words = () if "--process" in options else ("true",)
    assert catch(container, catcher, options, look, words)
    said = container.exec(
        "sh", "-c", "ulimit -n; ulimit -Hc; cat /proc/self/oom_score_adj; cat /proc/self/limits"
    ).stdout
    assert said.split()[:3] == ["200", "0", "500"]
    (line,) = [line for line in said.splitlines() if line.startswith("Max processes")]
    assert line.split()[2:4] == ["50", "50"]


def test_the_process_has_nothing_of_its_callers_session(containers, catcher, way):
    """It could type on the caller's terminal, or end the caller's process group."""
    changes, options = way
    container = containers.create(*changes, script="exec sleep 1000")
    container.start()
    own = os.getsid(0), os.getpgid(0)

    def look(caught):
        assert caught.session not in own and caught.group not in own and caught.group != caught.caller
        assert caught.terminal == 0 or caught.session == caught.pid
        assert caught.owner == 0  # it is not dumpable
        assert "exec" not in caught.read("cmdline") and container.id not in caught.read("cmdline")

    words = () if "--process" in options else ("true",)
    assert catch(container, catcher, options, look, words)
