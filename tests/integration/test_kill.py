"""`kill`: which of a container's processes a signal reaches."""

import json
import os
import select
import signal
import subprocess

import pytest
from containers import PATIENCE

from pyruntime.operations.kill import _is_first

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def family(runtime, bundle):
    """family(shared) runs a container of two processes: its id, and their pidfds, that of init first."""
    opened = []

    def make(shared):
        def change(config):
            script = "trap '' CONT; sleep 1000 & echo; exec sleep 1000"
            config["process"]["args"] = ["sh", "-c", script]
            if shared:
                config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]

        container = runtime.id()
        runtime("run", "-d", "-b", bundle(change), container)
        init = json.loads(runtime("state", container).stdout)["pid"]
        pids = json.loads(runtime("ps", "-f", "json", container).stdout)
        while len(pids) < 2:  # the shell is about to start the other one
            pids = json.loads(runtime("ps", "-f", "json", container).stdout)
        ordered = sorted(pids, key=lambda pid: pid != init)
        opened.extend(os.pidfd_open(pid) for pid in ordered)
        return container, opened[-2:]

    yield make
    for pidfd in opened:
        os.close(pidfd)


def ended(pidfd, seconds):
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@pytest.mark.parametrize("shared", [False, True], ids=["own pid namespace", "shared pid namespace"])
def test_sigkill_ends_every_process(runtime, family, shared):
    container, pidfds = family(shared)
    runtime("kill", container, "KILL")
    assert all(ended(pidfd, 10) for pidfd in pidfds)


def test_sigkill_ends_every_process_of_a_paused_container(runtime, family):
    container, pidfds = family(shared=True)
    runtime("pause", container)
    runtime("kill", container, "KILL")
    assert all(ended(pidfd, 10) for pidfd in pidfds)


def test_another_signal_is_for_init_alone(runtime, family):
    container, (init, other) = family(shared=True)
    runtime("kill", container, "TERM")
    assert ended(init, 10)
    assert not ended(other, 0)
    signal.pidfd_send_signal(other, signal.SIGKILL)


@pytest.mark.parametrize("verbs", [["create"], ["run", "--detach"]], ids=["created", "running"])
def test_a_container_is_deleted_right_after_sigkill(runtime, bundle, verbs):
    """Ending takes time on a busy machine; until then a created container closes its gate and looks started."""
    path = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    for _ in range(20):
        container = runtime.id()
        runtime(*verbs, "--bundle", path, container)
        runtime("kill", container, "KILL")
        if verbs == ["create"]:
            assert json.loads(runtime("state", container).stdout)["status"] in ("created", "stopped")
        runtime("delete", container)
        assert not (runtime.root / container).exists()


@pytest.mark.parametrize("name", ["WINCH", "HUP", "USR1", "CONT", "URG", "TERM"])
def test_a_signal_passes_through_a_foreground_run_without_a_terminal(runtime, bundle, name):
    script = f"trap 'exit 7' {name}; echo ready; while :; do sleep 0.01; done"
    path = bundle(lambda config: config["process"].update(args=["sh", "-c", script]))
    command = runtime.command("run", "--bundle", path, runtime.id())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(getattr(signal, f"SIG{name}"))
        assert run.wait(PATIENCE) == 7


# Those that end no process by default, and those that no process can hold back.
HARMLESS = {
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
}
INITS = {
    "plain": lambda config: None,
    "a hook in the container": lambda config: config.update(hooks={"startContainer": [{"path": "/bin/true"}]}),
    "no pid namespace": lambda config: config["linux"].update(
        namespaces=[entry for entry in config["linux"]["namespaces"] if entry["type"] != "pid"]
    ),
}


@pytest.mark.parametrize("init", INITS)
def test_a_signal_that_ends_a_process_ends_a_container_that_waits_for_start(runtime, bundle, subtests, init):
    """Also the first process of a pid namespace, which the kernel spares otherwise; as with runc."""
    place = bundle(INITS[init])
    numbers = {*signal.valid_signals()} if init == "plain" else {signal.SIGTERM, signal.SIGUSR1}
    for number in sorted(numbers - HARMLESS - {signal.SIGKILL, signal.SIGSTOP}):
        with subtests.test(number=int(number)):
            container = runtime.id()
            runtime("create", "-b", place, container)
            pidfd = os.pidfd_open(json.loads(runtime("state", container).stdout)["pid"])
            runtime("kill", container, str(int(number)))
            assert ended(pidfd, PATIENCE)
            os.close(pidfd)
            assert json.loads(runtime("state", container).stdout)["status"] == "stopped"
            runtime("delete", container)


@pytest.mark.parametrize("init", INITS)
def test_any_other_signal_leaves_a_container_waiting_for_start(runtime, bundle, init):
    container = runtime.id()
    runtime("create", "-b", bundle(INITS[init]), container)
    for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH):
        runtime("kill", container, str(int(number)))
    assert json.loads(runtime("state", container).stdout)["status"] == "created"
    runtime("start", container)
    assert json.loads(runtime("state", container).stdout)["status"] != "created"


def test_the_first_process_is_known_as_such_whatever_number_of_groups_it_has(containers):
    """They come before its pids in /proc/PID/status, and take more than a page."""

    def change(config):
        config["process"]["user"]["additionalGids"] = list(range(100000, 102000))

    container = containers.start(change)
    assert len(container.proc("status").read_bytes()) > 8192
    assert _is_first(container.pid)
