"""Containers made from a control group that was killed (cgroup.kill), and in one.

For CLONE_INTO_CGROUP Linux compares the kills of two different groups, and may end the new process with SIGKILL
(pyruntime/engine/child/again.py).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from containers import CGROUPS

from changes import hook, inherit, linux, mapped, namespace, resources

UNIFIED = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "unified"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not (UNIFIED / "cgroup.procs").exists(), reason="needs a unified cgroup hierarchy"),
]

CHANGES = {
    "as spec writes it": [],
    "user namespace": [mapped()],
    "hook of the host": [hook("createRuntime", "true")],
    "Python's init": [hook("startContainer", "true", args=["true"])],
    "host's cgroup namespace": [inherit("cgroup")],
    "little memory": [resources(memory={"limit": 1 << 19})],
    "time namespace": [namespace("time")],
}


def unified_group(pid):
    """Return the unified group of process `pid`, as a path below the mount point."""
    return Path(f"/proc/{pid}/cgroup").read_text().split("0::")[1].split("\n")[0]


@pytest.fixture
def group(runtime):
    """A group that was killed once, below the unified root."""
    path = UNIFIED / runtime.id()
    path.mkdir()
    if not (path / "cgroup.kill").exists():
        path.rmdir()
        pytest.skip("the kernel has no cgroup.kill")
    (path / "cgroup.kill").write_text("1")
    yield path
    path.rmdir()


@pytest.fixture
def caller(group, runtime, monkeypatch):
    """The group in which the test calls the program from now on."""
    plain = type(runtime).__call__

    def from_the_group(self, *words, **options):
        return plain(self, *words, preexec_fn=lambda: (group / "cgroup.procs").write_text("0"), **options)

    monkeypatch.setattr(type(runtime), "__call__", from_the_group)
    yield group
    monkeypatch.undo()
    runtime.clean()


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_caller_in_a_killed_group_makes_containers(caller, containers, changes):
    assert containers.inside("echo here", *changes) == "here"
    container = containers.create(*changes)
    assert unified_group(container.pid) not in ("/", f"/{caller.name}")
    container.start()
    seen = container.exec("sh", "-c", "echo $$; cat /proc/self/cgroup").stdout
    assert seen.split("\n", 1)[0].isdigit()
    inside = [line for line in seen.split("\n") if line.startswith("0::")]
    own = container.exec("cat", "/proc/1/cgroup").stdout.split("\n")
    assert inside == [line for line in own if line.startswith("0::")]


def test_a_caller_in_a_killed_group_makes_a_detached_process(caller, containers):
    container = containers.start(script="exec sleep 1000")
    containers.runtime("exec", "--detach", container.id, "sleep", "1000")
    pids = (UNIFIED / unified_group(container.pid).lstrip("/") / "cgroup.procs").read_text().split()
    assert len(pids) == 2


def test_a_caller_in_a_killed_group_makes_what_joins_a_pid_namespace(caller, containers):
    first = containers.start()
    second = containers.start(namespace("pid", f"/proc/{first.pid}/ns/pid"))
    assert unified_group(second.pid) not in (unified_group(first.pid), f"/{caller.name}")
    assert second.exec("echo", "here").stdout == "here\n"


def test_a_container_is_made_in_a_group_that_was_killed(group, containers):
    container = containers.start(linux(cgroupsPath=f"/{group.name}"))
    assert str(container.pid) in (group / "cgroup.procs").read_text().split()
    assert container.exec("echo", "here").stdout == "here\n"
    container.delete("--force")
    assert containers.inside("echo here", linux(cgroupsPath=f"/{group.name}")) == "here"


def test_a_caller_in_a_killed_group_has_a_sandbox(group):
    program = "from pyruntime import Sandbox; print(Sandbox().run(['echo', 'here']).stdout)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd="/",  # the sources of the package are not its build
        preexec_fn=lambda: (group / "cgroup.procs").write_text("0"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "b'here\\n'\n"
