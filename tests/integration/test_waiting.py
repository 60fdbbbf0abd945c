"""A `run` or `exec` that waits long is executed again and has no memory of Python's: what it then does and leaves."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from containers import until

from terminals import CONVERSATION, converse

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# What nobody else has of the memory of a process that waits: of Python's objects it would be ten times as much.
MOST = 512  # KiB


@pytest.fixture(autouse=True)
def _with_a_snapshot(pyruntime):
    if b"--snapshot" not in Path(pyruntime).read_bytes():
        pytest.skip("libpython is not part of the program")


def own_memory(pid):
    """Return the KiB of anonymous memory of the process, or 0 if it has none (yet)."""
    found = re.search(r"^Anonymous: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    return int(found[1]) if found else 0


def waits(process):
    """Wait until the process has been executed again, and does nothing any more but wait."""

    def executed_again():
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        return b"PYRUNTIME_WAITS=" in environment and own_memory(process.pid) < MOST

    until(executed_again, "the process waits without Python")


@pytest.fixture
def started(runtime, bundle, request):
    """Return a function that starts `run` of a shell script, and waits until it waits without Python."""

    def start(script, *options, change=lambda config: None, shared=()):
        def fill(config):
            config["process"]["args"] = ["sh", "-c", script]
            change(config)

        name = runtime.id()
        words = runtime.command(*shared, "run", "-b", bundle(fill, own=True), *options, name)
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        request.addfinalizer(process.kill)
        waits(process)
        return process, name

    return start


def test_the_exit_status_is_the_programs_and_the_container_is_deleted(started, runtime, containers):
    process, name = started("read line; exit 7")
    assert process.communicate("\n")[1] == ""
    assert process.returncode == 7
    containers.nothing_left(name)


def test_the_command_line_and_the_program_stay_the_same(started):
    process, name = started("read line")
    words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert words[-2:] == [name.encode(), b""] and b"run" in words
    process.communicate("\n")


def test_signals_are_passed_on(started):
    process, _ = started("trap 'echo caught; exit 5' USR1; while :; do sleep 0.01; done")
    process.send_signal(signal.SIGUSR1)
    assert process.communicate()[0] == "caught\n"
    assert process.returncode == 5


def test_poststop_hooks_run_with_the_callers_environment_untouched(started, tmp_path):
    def hook(config):
        config["hooks"] = {
            "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{tmp_path}/state; env >{tmp_path}/env"]}]
        }

    process, name = started("read line", change=hook)
    process.communicate("\n")
    assert f'"id": "{name}"' in (tmp_path / "state").read_text().replace('":"', '": "')
    assert "PYRUNTIME_WAITS" not in (tmp_path / "env").read_text()


def test_keep_leaves_the_stopped_container(started, runtime):
    process, name = started("read line; exit 3", "--keep")
    process.communicate("\n")
    assert process.returncode == 3
    assert '"status": "stopped"' in runtime("state", name).stdout
    runtime("delete", name)


def test_a_container_that_is_deleted_meanwhile_is_no_error(started, runtime):
    process, name = started("sleep 1000")
    runtime("delete", "--force", name)
    assert process.communicate()[1] == ""
    assert process.returncode == 128 + signal.SIGKILL


def test_another_container_that_has_got_the_id_meanwhile_is_not_deleted(started, runtime, bundle):
    process, name = started("sleep 1000")
    process.send_signal(signal.SIGSTOP)
    runtime("delete", "--force", name)
    runtime("create", "-b", bundle(), name)
    process.send_signal(signal.SIGCONT)
    process.communicate()
    assert '"status": "created"' in runtime("state", name).stdout
    runtime("delete", "--force", name)


def test_a_deletion_that_fails_is_an_error_with_advice(started, runtime, tmp_path):
    log = tmp_path / "log"
    process, name = started("read line", shared=["--log", log])
    state = runtime.root / name / "state.json"
    kept = state.read_text()
    state.write_text("{")
    said = process.communicate("\n")[1]
    assert process.returncode == 1
    assert "it is damaged" in said and f"pyruntime delete --force {name}" in said
    assert "it is damaged" in log.read_text()
    state.write_text(kept)
    runtime("delete", "--force", name)


def test_the_working_directory_may_be_gone(runtime, bundle, tmp_path, containers):
    gone = tmp_path / "gone"
    gone.mkdir()
    path, name = bundle(lambda config: config["process"].update(args=["sh", "-c", "read line; exit 4"])), runtime.id()
    with subprocess.Popen(
        runtime.command("run", "-b", path, name), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=gone
    ) as process:
        waits(process)
        gone.rmdir()
        assert process.communicate("\n")[1] == ""
    assert process.returncode == 4
    containers.nothing_left(name)


def test_exec_waits_without_python_as_well(containers, runtime):
    container = containers.start()
    words = runtime.command("exec", container.id, "sh", "-c", "read line; exit 6")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        waits(process)
        assert process.communicate("\n")[1] == ""
    assert process.returncode == 6


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_terminal_is_relayed_without_python(verb, containers, runtime, bundle):
    """At once, so that no byte is between two processes; `converse` sees the rest."""
    if verb == "run":

        def change(config):
            config["process"].update(args=["sh", "-c", CONVERSATION], terminal=True)

        words = runtime.command("run", "-b", bundle(change), runtime.id())
    else:
        words = runtime.command("exec", "--tty", containers.start().id, "sh", "-c", CONVERSATION)
    converse(words, waits)


def test_debug_waits_with_python_and_tells_the_signals(runtime, bundle):
    script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done"
    path = bundle(lambda config: config["process"].update(args=["sh", "-c", script]))
    words = runtime.command("--debug", "run", "-b", path, runtime.id())
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        assert f"passing signal {int(signal.SIGUSR1)} on" in process.communicate()[1]
    assert process.returncode == 5


@pytest.mark.parametrize("value", ["", "x", "0", "1 2", "99", "0 0 0 0"])
def test_the_variable_of_a_process_that_waits_is_refused_from_others(runtime, value):
    done = runtime("list", check=False, env={"PYRUNTIME_WAITS": value})
    assert done.returncode == 1
    assert "PYRUNTIME_WAITS" in done.stderr


def test_a_file_that_is_not_sealed_is_not_believed(runtime):
    fd = os.memfd_create("pyruntime-waits", os.MFD_ALLOW_SEALING)
    os.write(fd, b"pyruntime waits\0" + bytes(65536))
    done = runtime("list", check=False, env={"PYRUNTIME_WAITS": f"{fd}"}, pass_fds=[fd])
    os.close(fd)
    assert done.returncode == 1
