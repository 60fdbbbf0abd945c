"""The host's handling of messages that another process forges in the name of the container's process."""

import errno
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import types

import pytest

from pyruntime._stub import lib
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.engine.child import failures, launch
from pyruntime.engine.child.child import PATIENCE, Child, pass_senders
from pyruntime.operations import start
from pyruntime.plan.step import Step
from pyruntime.protocol import messages
from pyruntime.protocol.limits import left
from pyruntime.store.process import start_time


class Speaker:
    """A process that the host holds as its child, and sends what it is told over its socket; so can this process."""

    def __init__(self):
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        orders, self.orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            self.orders.close()
            while message := orders.recv(1 << 16):
                self.theirs.send(message)
            os._exit(0)
        orders.close()
        self.held = Child(ours.detach(), types.SimpleNamespace(paths={}))
        self.held.pid, self.held.pidfd = pid, os.pidfd_open(pid)
        self.held.alone = True
        pass_senders(self.held.sync, True)
        lib.pyr_set_patience(self.held.sync, 100)

    def says(self, *messages):
        """Have the process send these messages."""
        for message in messages:
            self.orders.send(message)

    def end(self):
        """Have the process end once it has sent everything."""
        self.orders.close()


@pytest.fixture
def speaker():
    made = Speaker()
    yield made
    made.end()
    made.theirs.close()
    made.held.kill()


@pytest.fixture
def sibling():
    """The pid of another child of this process, as a caller of the library may have some."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process.pid
        assert process.poll() is None, "killed as if it were the container's"
        process.kill()


@pytest.fixture
def impatient():
    """A function that leaves a SIGTERM for this process, which holds it back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    # For this thread: another one, which an earlier test has left, would let it end the process.
    yield lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    signal.sigtimedwait([signal.SIGTERM], 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def plan():
    return types.SimpleNamespace(maps=None, limits=[], steps=list)


def test_the_intermediate_process_says_who_goes_on(speaker, sibling):
    speaker.says(b"P%d" % sibling)
    speaker.end()
    launch.go_on(speaker.held, plan())
    assert speaker.held.pid == sibling
    speaker.held.pid = 0  # it is not the container's
    assert speaker.theirs.recv(100) == messages.GO + b"%d" % sibling


def test_nobody_else_says_who_goes_on(speaker, sibling):
    """Whoever that is would be killed when the container is given up."""
    speaker.theirs.send(b"P%d" % sibling)
    with pytest.raises(Error, match="another process sent a message in its name"):
        launch.go_on(speaker.held, plan())
    speaker.held.kill()


def test_descriptors_that_come_with_a_message_do_not_stay_open(speaker):
    gc.collect()
    before = os.listdir("/proc/self/fd")
    socket.send_fds(speaker.theirs, [b"P1"], [0, 0, 0])
    with pytest.raises(Error, match="another process"):
        launch.go_on(speaker.held, plan())
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("text", [b"P", b"Pxyz", b"P-1", b"P1 ", b"P" + b"9" * 5000])
def test_a_pid_is_a_number(speaker, text):
    speaker.says(text)
    with pytest.raises(Error, match="its message makes no sense"):
        launch.go_on(speaker.held, plan())


def test_only_the_intermediate_process_asks_for_room(speaker):
    speaker.held.alone = False
    speaker.says(bytes([lib.MESSAGE_CROWDED]))
    with pytest.raises(Error, match="its message makes no sense"):
        launch.expect(speaker.held, plan(), messages.READY)


@pytest.fixture
def events(monkeypatch):
    """The number of events that were taken, with --debug."""
    taken = []
    recorder = types.SimpleNamespace(
        told=taken.append, begin=lambda *_: None, end=lambda: None, note=lambda _: None, mark=lambda *_: None
    )
    monkeypatch.setattr(log, "events", recorder)
    return taken


def test_events_without_end_are_an_error(speaker, events, monkeypatch):
    monkeypatch.setattr(launch, "_EVENTS", 50)
    speaker.held.alone = False
    for _ in range(100):
        speaker.theirs.send(b"D[]")
    with pytest.raises(Error, match="its message makes no sense"):
        launch.expect(speaker.held, plan(), messages.READY)
    assert len(events) <= 51


def test_a_signal_ends_the_wait_among_events(speaker, events, impatient):
    speaker.held.alone = False
    for _ in range(100):
        speaker.theirs.send(b"D[]")
    impatient()
    with pytest.raises(Error, match="given up"):
        launch.expect(speaker.held, plan(), messages.READY)
    assert len(events) == 1


def test_a_connection_that_ends_before_its_process_is_an_end(speaker):
    """A process that traces it has made it close its end: waiting for it would have no end."""
    speaker.held.alone = False
    os.close(speaker.held.sync)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    speaker.held.sync = ours.detach()
    theirs.close()
    with pytest.raises(Error, match="killed by signal 9"):
        launch.expect(speaker.held, types.SimpleNamespace(cgroup=types.SimpleNamespace(steps=[])), messages.READY)
    assert speaker.held.pid == 0


def test_a_program_that_runs_ends_the_wait_whoever_holds_the_connection(speaker):
    with subprocess.Popen(["sleep", "1000"]) as process:
        speaker.held.alone = False
        pid, speaker.held.pid = speaker.held.pid, process.pid
        assert speaker.held.hear(executes=True) == b""
        speaker.held.pid = pid
        process.kill()


def test_the_agent_gets_no_other_descriptor_than_a_listener(speaker):
    sent = []
    speaker.held.alone = False
    socket.send_fds(speaker.theirs, [bytes([lib.MESSAGE_LISTENER])], [speaker.theirs.fileno()])
    gc.collect()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Error, match="no listener of a seccomp filter"):
        launch._pass_listener(speaker.held, plan(), types.SimpleNamespace(send=sent.append))
    assert (sent, os.listdir("/proc/self/fd")) == ([], before)


@pytest.mark.parametrize("size", [1, 3, messages.STEP_SIZE - 1, messages.STEP_SIZE + 1])
@pytest.mark.parametrize("kind", [lib.MESSAGE_STEP, lib.MESSAGE_SPAWN])
def test_a_report_of_another_size_is_nonsense(kind, size):
    """The rest of a short one would be that of a failure of step 0."""
    message = kind.to_bytes(4, sys.byteorder).ljust(size, b"\0")[:size]
    told = types.SimpleNamespace(build=[Step("root", "/root", "")], labels=[], namespaces=[], maps=[])
    assert failures.failure(message, told).reason == "its message makes no sense"


# ---- start ----


def hear_out(theirs_says, state=None):
    """Return what `start` takes for said by an init, here this process, at whose end `theirs_says` is called."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lib.pyr_set_patience(ours.fileno(), PATIENCE)
        theirs_says(theirs)
        return start._hear_out(state or {"pid": os.getpid(), "start_time": start_time(os.getpid())}, ours.fileno())


def test_what_init_sends_without_end_is_not_read_without_end(monkeypatch):
    monkeypatch.setattr(start, "_MOST", 1 << 10)
    with pytest.raises(Error, match="it sends without end"):
        hear_out(lambda theirs: theirs.send(b"D\n" * 5000))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(start, "PATIENCE", 20)


def test_start_ends_when_the_program_runs_whoever_holds_the_connection(quick):
    """This process has executed a program."""
    assert hear_out(lambda theirs: theirs.send(b"X")) == b"X"


def test_start_ends_when_init_has_ended_whoever_holds_the_connection(quick):
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        state = {"pid": process.pid, "start_time": start_time(process.pid)}
        assert hear_out(lambda theirs: theirs.send(b"X"), state) == b"X"


def test_a_signal_ends_the_wait_of_start(quick, impatient, speaker):
    """The speaker has executed nothing, as an init that does not get on."""
    pid = speaker.held.pid
    impatient()
    with pytest.raises(Error, match="given up"):
        hear_out(lambda theirs: None, {"pid": pid, "start_time": start_time(pid)})


def test_events_by_the_million_are_left_out_in_little_time():
    """Twice as many take twice as long, and not four times."""
    assert start._without_events(b"D\n" * (1 << 19) + b"X") == b"X"
    assert start._without_events(b"D without an end") == b""


# ---- What is said ----


@pytest.mark.parametrize(
    "fields",
    [
        *([], {}, {"errno": "x"}, {"pointer": 5}, {"step": "s", "doing": 1}, {"log": None}, {"step": 10**9}),
        *({"errno": 10**30}, {"errno": -1}, {"step": [1]}, {"step": None}),
    ],
)
def test_a_report_of_the_wrong_types_is_nonsense(fields):
    whole = json.loads(messages.encode_error(Error("cannot", "because", pointer="/a", step="s", errno=1), plan())[1:])
    changed = {**whole, **fields} if fields else fields
    error = messages.decode_error(messages.FAILED + json.dumps(changed).encode(), plan())
    assert error.reason == "its message makes no sense"


@pytest.mark.parametrize("letter", ["x", "\n", "\u00e9", "\U0001f431", "\udcff"])
def test_the_longest_report_arrives_and_says_that_it_is_cut(letter):
    """What init sends is read in one piece of 64 KiB; the rest of a longer message would be lost."""
    text = letter * 70_000
    names = ("pointer", "clause", "step", "call", "advice", "log", "log_of")
    sent = Error(text, text, errno=1, **dict.fromkeys(names, text))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert messages.send(theirs.fileno(), messages.encode_error(sent, plan()))
        error = messages.decode_error(messages.read(ours.fileno()), plan())
    for name in ("reason", *names):
        found = getattr(error, name)
        kept = found.index("…")
        assert kept == 500 and found == f"{text[:kept]}… ({70_000 - kept} more characters)"


def test_a_report_is_not_cut_where_it_fits():
    pointer = "/hooks/startContainer/0/env/" + "x" * 5000
    error = messages.decode_error(messages.encode_error(Error("cannot", "why", pointer=pointer), plan()), plan())
    assert (error.pointer, error.reason) == (pointer, "why")


def test_a_call_that_the_step_never_makes_is_an_error_like_any_other():
    step = Step("chdir", "/process/cwd", "", path="/here")
    error = messages.step_error(step, errno.ENODEV, "fsopen", "")
    assert "ENODEV" in str(error) and error.advice == ""


def test_what_the_child_never_sets_is_set_whatever_it_says():
    limits = [types.SimpleNamespace(op=op) for op in ("prlimit", "oom_score_adj", "prlimit")]
    assert left(b"R\x02", limits) == limits[1:]
