"""A caller whose limits stop the runtime half-way, who takes a container's id, or lets the runtime wait for ever."""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from containers import until
from test_hostile_crash import cgroups, processes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize(
    ("limit", "values"),
    [("RLIMIT_NOFILE", range(6, 30)), ("RLIMIT_FSIZE", (0, 1, 100, 1000, 1500, 1 << 16))],
    ids=["descriptors", "size of files"],
)
def test_a_limit_of_the_caller_leaves_nothing_behind(runtime, bundle, subtests, limit, values):
    """Too few descriptors, or files that must not grow: at whatever step the runtime fails, it removes what it made."""
    place = bundle(lambda config: config["process"].update(args=["true"], rlimits=[]))
    ends = set()
    kind = getattr(resource, limit)
    for value in values:
        with subtests.test(value=value):
            name = runtime.id()

            def lower(value=value) -> None:
                resource.setrlimit(kind, (value, value))

            # Not through files, to which the limit would apply.
            done = subprocess.run(
                runtime.command("run", "-b", place, name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lower,
                timeout=60,
                check=False,
            )
            ends.add(done.returncode)
            assert done.returncode in (0, 1), done.stderr
            assert (done.returncode == 0) == (done.stderr == "")
            assert "internal error" not in done.stderr and "init failed" not in done.stderr, done.stderr
            assert not (runtime.root / name).exists()
            assert cgroups(name) == [] and processes(name) == []
    assert ends == {0, 1}  # both sides of the limit were tried


@pytest.mark.parametrize("limit", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_a_caller_without_memory_gets_a_message(runtime, bundle, pyruntime, subtests, limit):
    """As soon as the kernel can execute the program at all: below that it kills it in execve(2), as any program."""
    place = bundle(lambda config: config["process"].update(args=["true"], rlimits=[]))
    kind = getattr(resource, limit)
    # With more words than `run` has below, which the stack holds.
    words = runtime.command("state", "x" * 300 + str(place))
    step, ends, value = 1 << 14, set(), _smallest(words, kind)
    while 0 not in ends and value < 1 << 28:
        name = runtime.id()
        with subtests.test(value=value):

            def lower(value=value) -> None:
                resource.setrlimit(kind, (value, value))

            done = runtime("run", "-b", place, name, check=False, preexec_fn=lower)
            ends.add(done.returncode)
            # 127 is the C library's, which allocates memory before the program begins.
            assert done.returncode in (0, 1, 127), done.returncode
            assert (done.returncode == 0) == (done.stderr == "")
            assert "internal error" not in done.stderr and "Traceback" not in done.stderr, done.stderr
        value, step = value + step, min(2 * step, 1 << 18)
    assert 0 in ends
    # What can be executed has the memory that it needs, if the address space is not limited as well.
    assert limit == "RLIMIT_DATA" or len(ends) > 1, "both sides of the limit were not tried"


def _smallest(words, kind) -> int:
    """Return the bytes with which the kernel executes `words`, of which `kind` is limited; to the next 4 KiB."""
    too_few, enough = 1 << 20, 1 << 28

    while enough - too_few > 1 << 12:
        value = (too_few + enough) // 2

        def lower(value=value) -> None:
            resource.setrlimit(kind, (value, value))

        done = subprocess.run(words, capture_output=True, preexec_fn=lower, check=False)
        if done.returncode == -signal.SIGSEGV:
            too_few = value
        else:
            enough = value
    return enough


def test_run_does_not_delete_another_container_that_has_got_the_id(runtime, bundle):
    """`run` is stopped until its container is deleted and the id is taken again. Then it continues."""
    place = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    name = runtime.id()
    pid = place / "pid"
    os.mkfifo(place / "started")
    first = bundle(
        lambda config: (
            config["process"].update(args=["sleep", "1000"]),
            config.update(hooks={"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {place}/started"]}]}),
        )
    )
    with subprocess.Popen(
        runtime.command("run", "-b", first, name), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as running:
        try:
            (place / "started").read_text()
            # The lock is free once the poststart hooks are done.
            directory = os.open(runtime.root / name, os.O_RDONLY)
            fcntl.flock(directory, fcntl.LOCK_EX)
            os.close(directory)
            running.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WNOWAIT)
            runtime("delete", "--force", name)
            runtime("create", "-b", place, "--pid-file", pid, name)
        finally:
            running.send_signal(signal.SIGCONT)
        assert running.wait(20) == 128 + signal.SIGKILL
    assert '"status": "created"' in runtime("state", name).stdout
    assert Path(f"/proc/{pid.read_text()}").exists()


# ---- What others make the runtime wait for ----


@pytest.fixture
def busy(tmp_path):
    """The path of a socket on which somebody listens whose queue is full: who connects has to wait."""
    path = tmp_path / "busy"
    queue = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        full = False
        while not full:
            queue.append(socket.socket(socket.AF_UNIX))
            queue[-1].setblocking(False)
            full = queue[-1].connect_ex(str(path)) == errno.EAGAIN
        yield path
    for waiting in queue:
        waiting.close()


def is_given_up(runtime, words, waits, statuses=frozenset({1, 255})):
    """Send SIGTERM to the verb as soon as it `waits`; return what it says."""
    command = runtime.command(*words)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as verb:
        try:
            until(lambda: verb.poll() is not None or waits(verb.pid), "its wait")
            verb.send_signal(signal.SIGTERM)
            said = verb.communicate(timeout=30)[1]
        finally:
            verb.kill()
    assert verb.returncode in statuses, said
    return said


def sleeps_in(*calls):
    """A function that tells whether a process waits in one of these functions of the kernel."""
    return lambda pid: Path(f"/proc/{pid}/wchan").read_text() in calls


SOCKETS = {
    "the terminal": ["--tty", "--detach", "--console-socket"],
    "the pidfd": ["--pidfd-socket"],
}


@pytest.mark.parametrize("kind", SOCKETS)
def test_exec_that_waits_for_a_socket_answers_to_sigterm(runtime, bundle, busy, kind):
    name = runtime.id()
    runtime("run", "-d", "-b", bundle(lambda config: config["process"].update(args=["sleep", "1000"])), name)
    words = ("exec", *SOCKETS[kind], busy, name, "true")
    assert "EINTR" in is_given_up(runtime, words, sleeps_in("unix_wait_for_peer"))
    assert len(json.loads(runtime("ps", "--format", "json", name).stdout)) == 1


def test_run_that_waits_for_the_seccomp_agent_answers_to_sigterm(runtime, bundle, busy):
    def change(config):
        calls = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
        seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(busy), "syscalls": calls}
        config["linux"]["seccomp"] = seccomp

    name = runtime.id()
    assert "EINTR" in is_given_up(runtime, ("run", "-b", bundle(change), name), sleeps_in("unix_wait_for_peer"))
    assert not (runtime.root / name).exists()


def test_exec_that_waits_for_a_fifo_answers_to_sigterm(runtime, bundle, tmp_path):
    name = runtime.id()
    runtime("run", "-d", "-b", bundle(lambda config: config["process"].update(args=["sleep", "1000"])), name)
    os.mkfifo(tmp_path / "process.json")
    words = ("exec", "--process", tmp_path / "process.json", name)

    # It blocks signals before it opens the file, and waits for nothing else.
    assert "signal 15 came" in is_given_up(runtime, words, lambda pid: "poll" in Path(f"/proc/{pid}/wchan").read_text())


@pytest.mark.parametrize(
    "kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
)
def test_run_that_waits_for_a_hook_answers_to_sigterm(runtime, bundle, tmp_path, kind):
    """The hook itself ignores the signal."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"trap '' TERM; echo begun > {tmp_path}/hook; exec sleep 1000"]}
    os.mkfifo(tmp_path / "hook")

    def change(config):
        config["hooks"] = {kind: [hook]}
        config["process"]["args"] = ["true"] if kind == "poststop" else ["sleep", "1000"]
        config["mounts"].append(
            {"destination": f"{tmp_path}/hook", "source": f"{tmp_path}/hook", "options": ["bind"], "type": "none"}
        )

    name = runtime.id()
    begun = os.open(tmp_path / "hook", os.O_RDONLY | os.O_NONBLOCK)
    try:
        said = is_given_up(runtime, ("run", "-b", bundle(change, own=True), name), lambda _: writes(begun), {0, 1})
    finally:
        os.close(begun)
    assert "signal 15 came" in said
    assert not (runtime.root / name).exists()
    assert cgroups(name) == [] and processes(name) == []


def writes(fifo):
    """Tell whether somebody has written to the FIFO of this descriptor."""
    try:
        return os.read(fifo, 100) != b""
    except BlockingIOError:
        return False


@pytest.fixture
def unanswered():
    """A function: until the test ends, nobody can open the given file (fanotify(7))."""
    library = ctypes.CDLL(None, use_errno=True)
    content, add, open_permission, at_fdcwd = 0x4, 0x1, 0x10000, -100
    group = library.fanotify_init(content, os.O_RDONLY)
    assert group >= 0, os.strerror(ctypes.get_errno())

    def mark(path):
        if library.fanotify_mark(group, add, ctypes.c_uint64(open_permission), at_fdcwd, os.fsencode(path)) < 0:
            pytest.skip("needs permission events of fanotify")

    yield mark
    os.close(group)


def test_run_that_waits_for_the_filesystem_of_the_bundle_ends_with_sigterm(runtime, bundle, unanswered):
    """As one of FUSE or the network whose server does not answer."""
    place = bundle()
    unanswered(place / "config.json")
    command = runtime.command("run", "-b", place, runtime.id())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as verb:
        try:
            until(lambda: "fanotify" in Path(f"/proc/{verb.pid}/wchan").read_text(), "its wait")
            verb.send_signal(signal.SIGTERM)
            assert verb.wait(20) == -signal.SIGTERM
        finally:
            verb.kill()
