"""Foreground `run`: signals, the terminal and the exit status, tried on a plain child in place of a container."""

import errno
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import pyruntime

BUILT = Path(pyruntime.__file__).parents[1]

# What operations/run.py does around the foreground part, with an ordinary process for the container.
PROGRAM = """
import _signal, fcntl, os, sys, termios
sys.path.insert(0, sys.argv[1])
from pyruntime.cli.main import occupy_standard_descriptors
from pyruntime.engine.terminal.foreground import follow, hold_signals, prepare, release_signals
how, ready, *command = sys.argv[2:]
occupy_standard_descriptors()
mask = hold_signals()
master = -1
if how == "relay":
    master, slave = os.openpty()
    prepare(master)
pid = os.fork()
if pid == 0:
    if how == "relay":
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.close(slave)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    for number in (_signal.SIGPIPE, _signal.SIGINT):
        _signal.signal(number, _signal.SIG_DFL)
    os.execvp(command[0], command)
if how == "relay":
    os.close(slave)
if ready != "-":
    os.write(int(ready), b"%d\\n" % pid)
pidfd = os.pidfd_open(pid)
status = follow(pidfd, pid, master, {})
release_signals(mask)
os._exit(status)
"""

TIMEOUT = 20


# Gives a command the default dispositions, whatever its parent ignores.
RESTORED = """
import os, signal, sys
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def argv(how, *command, ready="-", program=PROGRAM):
    return [sys.executable, "-c", program, str(BUILT), how, str(ready), *command]


def run(how, *command, **kwargs):
    """Run to the end; stdin is a pipe with nothing in it unless told otherwise."""
    return subprocess.run(
        argv(how, *command), capture_output=True, timeout=TIMEOUT, check=False, **{"input": b"", **kwargs}
    )


class Session:
    """A person at a terminal, with the program in the foreground of it."""

    def __init__(self, how, *command, size=(24, 80), ignored=(), program=PROGRAM):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.resize(*size)
        self.before = termios.tcgetattr(slave)
        self.seen = b""
        reader, writer = os.pipe()

        def take_the_terminal():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)

        self.process = subprocess.Popen(
            argv(how, *command, ready=writer, program=program),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=(writer,),
            start_new_session=True,
            preexec_fn=take_the_terminal,  # noqa: PLW1509
        )
        os.close(writer)
        with os.fdopen(reader) as file:
            self.child = int(file.readline())

    def resize(self, rows, columns):
        """Change the size of the person's terminal; the kernel then sends SIGWINCH to the foreground job."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys)

    def read_until(self, text):
        """Read what is on the screen until `text` has been seen; return it."""
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], TIMEOUT)
            assert ready, f"{text!r} did not appear after {self.seen!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError as error:
                assert error.errno == errno.EIO
                data = b""
            assert data, f"{text!r} did not appear before the end, but {self.seen!r}"
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def settings(self):
        return termios.tcgetattr(self.slave)

    def status(self):
        return self.process.wait(TIMEOUT)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def session(request):
    """Return a function that starts a session, ended with the test."""

    def start(*args, **kwargs):
        made = Session(*args, **kwargs)
        request.addfinalizer(made.close)
        return made

    return start


@pytest.mark.parametrize("how", ["wait", "relay"])
@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_containers(how, status):
    assert run(how, "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("how", ["wait", "relay"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_that_ended_the_container_is_128_and_its_number(how, number):
    assert run(how, "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$").returncode == 128 + number


@pytest.mark.parametrize("how", ["wait", "relay"])
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGALRM, signal.SIGRTMIN + 3],
)
def test_a_signal_reaches_the_container_and_nobody_else(session, how, number):
    """A container that catches it and goes on to end by itself."""
    script = f"trap 'echo caught; exit 5' {int(number)}; echo ready; while :; do sleep 0.01; done"
    at = session(how, "bash", "-c", script)
    at.read_until(b"ready")
    at.process.send_signal(number)
    at.read_until(b"caught")
    assert at.status() == 5


def test_signals_sent_before_the_wait_are_not_lost():
    """Every signal is held from the beginning: it waits until there is a container to pass it to."""
    program = PROGRAM.replace("pid = os.fork()", "os.kill(os.getpid(), 15); pid = os.fork()")
    command = argv("wait", "sleep", "1000", program=program)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_a_signal_that_the_caller_ignores_stays_ignored(session):
    """Under nohup, a hangup must not reach the container."""
    script = "trap 'echo hup' HUP; trap 'echo term; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    # A shell cannot catch what it was started to ignore, so something in between resets that.
    at = session("wait", sys.executable, "-c", RESTORED, "bash", "-c", script, ignored=[signal.SIGHUP])
    at.read_until(b"ready")
    at.process.send_signal(signal.SIGHUP)
    at.process.send_signal(signal.SIGTERM)
    assert b"hup" not in at.read_until(b"term")
    assert at.status() == 0


@pytest.mark.parametrize("how", ["wait", "relay"])
def test_output_comes_whole(how):
    done = run(how, "seq", "100000")
    assert done.stdout.split() == [str(number).encode() for number in range(1, 100001)]
    assert done.returncode == 0


def test_output_to_a_pipe_has_no_carriage_returns():
    assert run("relay", "printf", "a\\nb\\n").stdout == b"a\nb\n"


def test_input_from_a_pipe_reaches_the_container_and_ends():
    done = run("relay", "sh", "-c", "stty -echo; echo ready; cat", input=b"one\ntwo\n")
    assert done.stdout.endswith(b"one\ntwo\n")
    assert done.returncode == 0


def test_input_that_ends_in_half_a_line_ends_too():
    assert run("relay", "cat", input=b"half").stdout.endswith(b"half")


def test_input_ends_for_a_program_that_edits_its_line_itself():
    """A shell's prompt takes the terminal out of canonical mode; it must still see the end."""
    program = "import sys, tty; tty.setcbreak(0); print('ready'); [*iter(lambda: sys.stdin.read(1), chr(4))]"
    assert run("relay", sys.executable, "-uc", program).returncode == 0


def test_much_input_is_not_lost():
    lines = b"".join(b"%d\n" % number for number in range(20000))
    done = run("relay", "sh", "-c", "stty -echo; cat", input=lines)
    assert done.stdout.endswith(lines[-50000:])


def test_stdin_may_be_closed():
    command = " ".join(["exec", *(f"'{word}'" for word in argv("relay", "echo", "hello")), "<&-"])
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=TIMEOUT, check=False)
    assert done.stdout == b"hello\n"


def test_when_nobody_reads_the_terminal_hangs_up():
    """As a program in a pipeline ends when the next one has read enough."""
    reader, writer = os.pipe()
    process = subprocess.Popen(argv("relay", "yes"), stdin=subprocess.DEVNULL, stdout=writer)
    os.close(writer)
    assert os.read(reader, 4) == b"y\ny\n"
    os.close(reader)
    assert process.wait(TIMEOUT) != 0


def test_the_container_ends_the_relay_though_a_process_left_behind_holds_the_terminal():
    script = "trap '' HUP; sleep 1000 & echo $!; exit 4"
    done = run("relay", "sh", "-c", script)
    try:
        assert done.returncode == 4
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_a_reader_that_stalls_does_not_hold_up_signals():
    reader, writer = os.pipe()
    process = subprocess.Popen(argv("relay", "yes"), stdin=subprocess.DEVNULL, stdout=writer)
    os.close(writer)
    try:
        os.read(reader, 1)
        # Nobody reads on, so the relay is soon stuck in its write; the signal goes through nevertheless, and a
        # second one ends the wait for the reader.
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        assert process.returncode == 128 + signal.SIGTERM
    finally:
        process.kill()
        os.close(reader)


def test_the_terminal_has_the_size_of_ours_from_the_start(session):
    at = session("relay", "stty", "size", size=(33, 77))
    at.read_until(b"33 77")
    assert at.status() == 0


def test_a_change_of_size_reaches_the_container(session):
    at = session("relay", "bash", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done")
    at.read_until(b"ready")
    at.resize(41, 99)
    at.read_until(b"41 99")


def test_keys_reach_the_container_raw_and_its_terminal_interprets_them(session):
    at = session("relay", "sh", "-c", "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.01; done")
    at.read_until(b"ready")
    at.type(b"\x03")
    at.read_until(b"interrupted")
    assert at.status() == 9


def test_keys_are_echoed_once(session):
    at = session("relay", "sh", "-c", "echo ready; read -r line; echo got:$line")
    at.read_until(b"ready\r\n")
    at.type(b"hello\r")
    assert at.read_until(b"got:hello\r\n") == b"hello\r\ngot:hello\r\n"


def test_our_terminal_is_raw_meanwhile_and_as_before_afterwards(session):
    at = session("relay", "sh", "-c", "echo ready; read -r line")
    at.read_until(b"ready")
    assert not at.settings()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    at.type(b"\r")
    assert at.status() == 0
    assert at.settings() == at.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_our_terminal_is_restored_when_a_signal_ends_the_container(session, number):
    at = session("relay", "sh", "-c", "echo ready; read -r line")
    at.read_until(b"ready")
    os.kill(at.child, number)
    assert at.status() == 128 + number
    assert at.settings() == at.before


def test_our_terminal_is_restored_when_the_relay_fails(session):
    """The child is reaped by another function: that cannot happen in `run`, and is an error here."""
    program = PROGRAM.replace("status = follow", "os.kill(pid, 9); os.waitpid(pid, 0); status = follow")
    at = session("relay", "sleep", "1000", program=program)
    assert at.status() == 1
    at.read_until(b"cannot wait for process")
    assert at.settings() == at.before


def test_without_a_terminal_the_container_has_our_own_descriptors(session):
    at = session("wait", "tty", size=(30, 90))
    at.read_until(os.ttyname(at.slave).encode())
    assert at.status() == 0
    assert at.settings() == at.before


@pytest.mark.skipif(not shutil.which("script"), reason="needs script(1)")
def test_under_script(tmp_path):
    (tmp_path / "run.sh").write_text(
        f"stty rows 12 cols 34\n{sys.executable} {tmp_path}/program {BUILT} relay - sh -c 'stty size; tty -s; exit 3'\n"
    )
    (tmp_path / "program").write_text(PROGRAM)
    done = subprocess.run(
        ["script", "-qec", f"sh {tmp_path}/run.sh", "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert b"12 34" in done.stdout
    assert done.returncode == 3
