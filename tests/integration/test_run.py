"""`run` of real containers in the foreground and detached: status, signals, terminal, and what is left."""

import json
import os
import signal
import socket
import subprocess

import pytest

from terminals import CONVERSATION, converse, read_until, take_terminal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TIMEOUT = 30


def process(*args, terminal=False):
    """Return the change of a configuration that sets the container's process."""

    def change(config):
        config["process"]["args"] = list(args)
        config["process"]["terminal"] = terminal

    return change


def shell(script, terminal=False):
    return process("sh", "-c", script, terminal=terminal)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("status", [0, 3, 255])
def test_run_exits_with_the_status_of_the_container(runtime, bundle, terminal, status):
    path = bundle(shell(f"exit {status}", terminal))
    assert runtime("run", "-b", path, runtime.id(), check=False).returncode == status


@pytest.mark.parametrize("terminal", [False, True])
def test_run_deletes_the_container_when_it_has_ended(runtime, bundle, terminal):
    container = runtime.id()
    runtime("run", "-b", bundle(shell("true", terminal)), container)
    assert "does not exist" in runtime("state", container, check=False).stderr


def test_keep_leaves_the_stopped_container(runtime, bundle):
    container = runtime.id()
    runtime("run", "--keep", "-b", bundle(shell("true")), container)
    assert json.loads(runtime("state", container).stdout)["status"] == "stopped"


@pytest.mark.parametrize("terminal", [False, True])
def test_output_arrives_whole(runtime, bundle, terminal):
    done = runtime("run", "-b", bundle(process("seq", "20000", terminal=terminal)), runtime.id())
    assert done.stdout.split() == [str(number) for number in range(1, 20001)]
    assert "\r" not in done.stdout


def test_without_a_terminal_stdin_is_the_callers(runtime, bundle):
    done = subprocess.run(
        runtime.command("run", "-b", bundle(process("cat")), runtime.id()),
        input=b"hello",
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout == b"hello"


def test_a_program_that_cannot_be_executed_leaves_nothing(runtime, bundle):
    container = runtime.id()
    done = runtime("run", "-b", bundle(process("/no/such/program")), container, check=False)
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr
    assert "no such file or directory" in done.stderr
    assert "does not exist" in runtime("state", container, check=False).stderr


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signals_are_passed_on(runtime, bundle, terminal, number):
    path = bundle(
        shell(f"trap 'echo caught; exit 9' {int(number)}; echo ready; while :; do sleep 0.01; done", terminal)
    )
    started = subprocess.Popen(
        runtime.command("run", "-b", path, runtime.id()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with started:
        assert started.stdout.readline() == "ready\n"
        started.send_signal(number)
        assert started.stdout.readline() == "caught\n"
        assert started.wait(TIMEOUT) == 9


def test_a_signal_that_kills_the_container_is_128_and_its_number(runtime, bundle):
    container = runtime.id()
    path = bundle(shell("echo ready; while :; do sleep 0.01; done"))
    with subprocess.Popen(
        runtime.command("run", "-b", path, container), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as started:
        started.stdout.readline()
        runtime("kill", container, "KILL")
        assert started.wait(TIMEOUT) == 128 + signal.SIGKILL


def test_the_program_starts_with_no_signal_blocked_or_ignored(runtime, bundle):
    done = runtime("run", "-b", bundle(process("grep", "^Sig[BIC]", "/proc/self/status")), runtime.id())
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"0" * 16}


def test_a_session_at_a_terminal(runtime, bundle):
    converse(runtime.command("run", "-b", bundle(shell(CONVERSATION, True)), runtime.id()))


def test_the_terminal_of_a_detached_container_goes_to_the_console_socket(runtime, bundle, tmp_path):
    container = runtime.id()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        path = bundle(shell("echo hello; sleep 1000", True))
        runtime("run", "--detach", "--console-socket", tmp_path / "console", "-b", path, container)
        master = take_terminal(listener)
    try:
        read_until(master, b"hello")
    finally:
        os.close(master)
        runtime("delete", "--force", container)


@pytest.mark.parametrize(
    ("words", "terminal", "said"),
    [
        (["run", "--detach"], True, "--console-socket"),
        (["create"], True, "--console-socket"),
        (["run", "--detach", "--console-socket", "/nonexistent"], False, "--console-socket"),
        (["create", "--console-socket", "/nonexistent"], False, "--console-socket"),
        (["run", "--console-socket", "/nonexistent"], True, "--detach"),
        (["run", "--console-socket", "/nonexistent"], False, "--detach"),
        (["run", "--detach", "--console-socket", "/nonexistent"], True, "/nonexistent"),
    ],
)
def test_a_terminal_needs_exactly_one_taker(runtime, bundle, words, terminal, said):
    container = runtime.id()
    done = runtime(*words, "-b", bundle(shell("true", terminal)), container, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "does not exist" in runtime("state", container, check=False).stderr


def test_detached_it_returns_at_once_and_the_container_runs_on(runtime, bundle, tmp_path):
    container = runtime.id()
    runtime("run", "--detach", "--pid-file", tmp_path / "pid", "-b", bundle(process("sleep", "1000")), container)
    state = json.loads(runtime("state", container).stdout)
    assert state["status"] == "running"
    assert state["pid"] == int((tmp_path / "pid").read_text())
    runtime("delete", "--force", container)


def test_what_spec_writes_runs_as_it_stands(runtime, bundle):
    path = bundle(lambda config: config["process"].update(terminal=True))
    done = subprocess.run(
        runtime.command("run", "-b", path, runtime.id()),
        input=b"stty -echo; echo pid $$; hostname; exit 6\n",
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 6
    assert b"pid 1\n" in done.stdout
    assert b"pyruntime\n" in done.stdout


@pytest.mark.parametrize("words", [["run"], ["create"]])
def test_a_descriptor_that_the_caller_did_not_open_is_not_preserved(runtime, bundle, tmp_path, words):
    """Nor is one of the runtime's own passed on in its place."""
    container = runtime.id()
    path = bundle(shell("ls -l /proc/self/fd"))
    command = runtime.command("--log", tmp_path / "log", *words, "--preserve-fds", "1", "-b", path, container)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1
    assert "cannot preserve descriptor 3" in done.stderr


def test_a_preserved_descriptor_reaches_the_program(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("preserved")
    path = bundle(shell("cat <&3"))
    command = ["sh", "-c", 'exec "$@" 3<"$0"', str(tmp_path / "file")]
    command += runtime.command("run", "--preserve-fds", "1", "-b", path, runtime.id())
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stdout == "preserved"
