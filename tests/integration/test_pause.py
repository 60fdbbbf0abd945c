"""`pause` and `resume`: nothing of the container runs meanwhile, and it can still be ended."""

import json
import os
import subprocess

import pytest
from containers import PATIENCE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def counting(config):
    """A container that writes a line into its stdout whenever it gets one."""
    config["process"]["args"] = ["cat"]


@pytest.fixture
def cat(runtime, bundle):
    """A running `cat` with its pipes: (id, process)."""
    container = runtime.id()
    command = runtime.command("run", "-b", bundle(counting), container)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"up\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"up\n"
        yield container, process
        runtime("delete", "--force", container, check=False)


def status(runtime, container):
    return json.loads(runtime("state", container).stdout)["status"]


def pid(runtime, container):
    return json.loads(runtime("state", container).stdout)["pid"]


@pytest.mark.clause("runtime.md#state/status-extra-values")
def test_a_paused_container_does_nothing_until_it_is_resumed(runtime, cat):
    container, process = cat
    assert runtime("pause", container).stdout == ""
    assert status(runtime, container) == "paused"
    process.stdin.write(b"later\n")
    process.stdin.flush()
    with open(f"/proc/{pid(runtime, container)}/stat") as stat:
        state = stat.read().rpartition(")")[2].split()[0]
    assert state in "SDT"  # it has something to read, and would run otherwise
    assert runtime("resume", container).stdout == ""
    assert status(runtime, container) == "running"
    assert process.stdout.readline() == b"later\n"


def test_a_created_container_can_be_paused_and_is_created_again_when_resumed(runtime, bundle):
    container = runtime.id()
    runtime("create", "-b", bundle(counting), container)
    runtime("pause", container)
    assert status(runtime, container) == "paused"
    assert "it is paused" in runtime("start", container, check=False).stderr
    runtime("resume", container)
    assert status(runtime, container) == "created"


def test_a_paused_container_dies_of_sigkill_at_once(runtime, cat):
    container, process = cat
    runtime("pause", container)
    runtime("kill", container, "KILL")
    assert process.wait(timeout=PATIENCE) == 137


def test_other_signals_wait_for_resume(runtime, cat):
    container, process = cat
    runtime("pause", container)
    runtime("kill", container, "HUP")
    assert status(runtime, container) == "paused"
    assert process.poll() is None
    runtime("resume", container)
    runtime("kill", container, "KILL")
    process.wait(timeout=PATIENCE)


def test_exec_into_a_paused_container_waits_for_resume_when_told_to(runtime, cat):
    container, _ = cat
    runtime("pause", container)
    assert "it is paused" in runtime("exec", container, "true", check=False).stderr
    command = runtime.command("exec", "--ignore-paused", container, "echo", "ran")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        runtime("resume", container)
        assert process.stdout.read() == b"ran\n"
        assert process.wait(timeout=PATIENCE) == 0


def test_a_freezer_that_somebody_else_thaws_is_running(runtime, cat):
    container, _ = cat
    runtime("pause", container)
    paths = json.loads((runtime.root / container / "state.json").read_text())["cgroup"]["paths"]
    for directory, file, value in (
        (paths.get(""), "cgroup.freeze", "0"),
        (paths.get("freezer"), "freezer.state", "THAWED"),
    ):
        if directory:
            with open(f"{directory}/{file}", "w") as freezer:
                freezer.write(value)
    assert status(runtime, container) == "running"
