"""Malicious programs: each ends in bounded time with a result, and nothing of it is left."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from containers import until

from pyruntime import Sandbox, SandboxError
from pyruntime.sandbox import place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PATIENCE = 120


def python(code):
    return ["python3", "-c", code]


# ruff: noqa: E501  # programs
# What it does -> the ends that are right.
PROGRAMS = {
    "fork bomb": (["sh", "-c", "b() { b | b & }; b; sleep 1000"], {"timeout", "exited", "signal", "memory"}),
    "fork bomb of sessions": (
        python("import os\nwhile 1:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: pass"),
        {"timeout", "memory"},
    ),
    "memory bomb": (python("b = []\nwhile 1: b.append(b'x' * (1 << 20))"), {"memory"}),
    "memory bomb of many": (
        python("import os\nfor _ in range(4): os.fork()\nb = []\nwhile 1: b.append(b'x' * (1 << 20))"),
        {"memory"},
    ),
    "memory bomb in the workspace": (
        ["sh", "-c", "cat /dev/zero >/work/big; cat /dev/zero >/tmp/big; exit 9"],
        {"exited", "memory"},
    ),
    "endless output": (["sh", "-c", "cat /dev/zero"], {"output"}),
    "endless errors": (["sh", "-c", "cat /dev/zero >&2"], {"output"}),
    "closed streams": (["sh", "-c", "exec <&- >&- 2>&-; sleep 0.1; exit 3"], {"exited"}),
    "closed streams and no end": (["sh", "-c", "exec <&- >&- 2>&-; sleep 1000"], {"timeout"}),
    "deaf to signals": (["sh", "-c", "trap '' TERM INT HUP QUIT; while :; do sleep 1000; done"], {"timeout"}),
    "stops itself": (["sh", "-c", "kill -STOP $$"], {"timeout"}),
    "stops all": (
        python(
            "import os, signal\nif os.fork():\n  os.kill(-1, signal.SIGSTOP)\n  os.kill(os.getpid(), signal.SIGSTOP)\nelse: signal.pause()"
        ),
        {"timeout"},
    ),
    "kills all": (["sh", "-c", "kill -9 -1; exit 5"], {"exited", "signal"}),
    "kills the first process": (
        python("import os, sys\nfor n in range(1, 65):\n  try: os.kill(1, n)\n  except OSError: pass\nsys.exit(6)"),
        {"exited"},
    ),
    "daemon that holds the streams": (["sh", "-c", "setsid sleep 1000 & exit 4"], {"exited"}),
    "double daemon": (
        python(
            "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(1000)\n  os._exit(0)"
        ),
        {"exited"},
    ),
    "busy": (["sh", "-c", "while :; do :; done"], {"timeout"}),
    "threads": (
        python(
            "import threading, time\ntry:\n  while 1: threading.Thread(target=time.sleep, args=(1000,)).start()\nexcept RuntimeError: print('enough')\nimport os; os._exit(8)"
        ),
        {"exited"},
    ),
    "descriptors": (
        python("import os, sys\ntry:\n  while 1: os.open('/dev/null', 0)\nexcept OSError: sys.exit(7)"),
        {"exited"},
    ),
    "a file of 1 TB": (["sh", "-c", "truncate -s 1T big; ls -l big; exit 0"], {"exited"}),
    "a deep tree": (
        python("import os\nfor _ in range(20000):\n  try: os.mkdir('d'); os.chdir('d')\n  except OSError: break"),
        {"exited", "memory", "timeout"},
    ),
    "many files": (
        python("import os\nn = 0\ntry:\n  while 1: open(f'f{n}', 'w').close(); n += 1\nexcept OSError: print(n)"),
        {"exited", "memory"},
    ),
    "shared memory": (
        python("import mmap\nb = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): b[i] = 1"),
        {"memory"},
    ),
    "pipes": (
        python(
            "import os\np = []\ntry:\n  while 1:\n    r, w = os.pipe(); os.set_blocking(w, False); os.write(w, b'x' * 65536); p += [r, w]\nexcept OSError: print('enough')"
        ),
        {"exited", "memory"},
    ),
}


def time_for(ends):
    """Return the seconds after which a program is killed: few only where that is a correct end."""
    return 2 if "timeout" in ends else PATIENCE


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_ends_with_a_result_and_nothing_is_left(box, name):
    args, ends = PROGRAMS[name]
    began = time.monotonic()
    result = box.run(args, timeout=time_for(ends))
    assert result.end in ends, result
    assert time.monotonic() - began < PATIENCE
    assert len(result.stdout) + len(result.stderr) <= 256 << 10


@pytest.mark.parametrize("name", PROGRAMS)
def test_in_a_session_it_ends_and_the_session_can_be_closed(box, name):
    args, ends = PROGRAMS[name]
    with box.open() as session:
        session.write("small", b"before")
        result = session.exec(args, timeout=time_for(ends))
        assert result.end in ends, result
        # What it has left may hold every process id that there is; nothing else of the session suffers.
        with contextlib.suppress(BlockingIOError):
            assert session.exec(["true"], timeout=PATIENCE).ok
        assert session.read("small") == b"before"


FORBIDDEN = {
    "ptrace": "libc.ptrace(0, 0, 0, 0)",
    "ptrace of another": "libc.ptrace(16, os.getppid(), 0, 0)",
    "unshare": "libc.unshare(0x10000000)",
    "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)",
    "setns": "libc.setns(os.open('/proc/self/ns/net', 0), 0)",
    "clone of a namespace": "libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "keyctl": "libc.syscall(250, 0, -3, 0)",
    "bpf": "libc.syscall(321, 0, 0, 0)",
    "userfaultfd": "libc.syscall(323, 0)",
    "perf_event_open": "libc.syscall(298, 0, 0, 0, 0, 0)",
    "io_uring_setup": "libc.syscall(425, 1, 0)",
    "open_by_handle_at": "libc.syscall(304, -1, 0, 0)",
    "limits of the first process": "libc.prlimit(1, 0, b'\\0' * 16, 0)",
    "memory of the first process": "os.open('/proc/1/mem', os.O_RDWR)",
    "descriptors of the first process": "os.listdir('/proc/1/fd')",
    "process_vm_writev": "libc.syscall(311, 1, 0, 0, 0, 0, 0)",
    "raw sockets": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "packet sockets": "socket.socket(17, socket.SOCK_RAW, 0)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "a device": "os.mknod('/work/device', 0o020666, 0x103)",
    "set-user-id": "os.setuid(0)",
    "sysctl": "open('/proc/sys/kernel/domainname', 'w').write('x')",
    "the root": "open('/etc/passwd', 'a')",
    "chroot": "os.chroot('/work')",
    "the clock": "time.clock_settime(0, 0)",
    "loading a module": "libc.syscall(313, 0, b'', 0)",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_forbidden_is_refused(box, name):
    code = (
        "import ctypes, os, socket, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"try: sys.exit(0 if {FORBIDDEN[name]} == -1 else 9)\nexcept OSError: sys.exit(0)"
    )
    result = box.run(python(code), timeout=60)
    assert result.returncode == 0, result.stderr


def test_the_programs_of_a_session_do_not_learn_of_its_socket(box):
    with box.open() as session:
        shown = session.exec(["sh", "-c", "ls /proc/self/fd; cat /proc/1/environ; readlink /proc/1/exe"])
        assert shown.stdout.split() == [b"0", b"1", b"2", b"3"]


def test_another_process_of_a_session_cannot_be_read_by_its_first(box):
    with box.open() as session:
        sleeper = session.start(["sleep", "1000"])
        assert session.exec(["sh", "-c", f"kill -9 {sleeper.pid}"]).ok
        assert sleeper.wait().signal == 9


# ---- Files ----


def test_a_link_is_not_followed_out_of_the_workspace(box, tmp_path):
    (tmp_path / "secret").write_text("of the host")
    with box.open() as session:
        session.exec(
            ["sh", "-c", f"ln -s {tmp_path}/secret link; ln -s /etc dir; ln -s .. up; ln -s /proc/1/root root"]
        )
        for path in ("link", "dir/passwd", "up/etc/passwd", "root/etc/passwd"):
            with pytest.raises(OSError, match=r"link|No such"):
                session.read(path)
        for path in ("link", "dir/new", "up/new"):
            with pytest.raises(OSError, match=r"link|No such"):
                session.write(path, b"x")
    assert (tmp_path / "secret").read_text() == "of the host"


def test_a_path_cannot_climb_out(box):
    with box.open() as session:
        for path in ("../etc/passwd", "a/../../etc/passwd", "/etc/passwd", "", "a\0b"):
            with pytest.raises(ValueError, match=r"^path: "):
                session.read(path)


def test_what_is_no_plain_file_is_not_waited_for(box):
    with box.open() as session:
        session.exec(["sh", "-c", "mkfifo fifo; mkdir dir"])
        session.exec(python("import socket; socket.socket(socket.AF_UNIX).bind('sock')"))
        for path in ("fifo", "dir", "sock"):
            with pytest.raises(OSError):  # noqa: PT011
                session.read(path)
        for path in ("fifo", "sock"):
            with pytest.raises(OSError):  # noqa: PT011
                session.write(path, b"x")


SLOW = """
import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
for pid in (1, 1 << 32 | 1):
    for policy in (os.SCHED_IDLE, os.SCHED_BATCH):
        call(ctypes.c_long({scheduler}), ctypes.c_long(pid), ctypes.c_long(policy), ctypes.byref(ctypes.c_int(0)))
    for which, who in ((os.PRIO_PROCESS, pid), (os.PRIO_PGRP, pid), (os.PRIO_USER, 0), (os.PRIO_USER, os.getuid())):
        call(ctypes.c_long({priority}), ctypes.c_long(which), ctypes.c_long(who), ctypes.c_long(19))
print([os.sched_getscheduler(1), os.getpriority(os.PRIO_PROCESS, 1)])
os.nice(1)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
"""
CALLS = {"x86_64": {"scheduler": 144, "priority": 141}, "aarch64": {"scheduler": 119, "priority": 140}}


def test_the_first_process_is_not_made_slow(box):
    """A program of its user may lower priorities, its own among them; a call of a sandbox took 102 s so."""
    code = SLOW.format(**CALLS[os.uname().machine])
    assert box.run(python(code)).check().stdout == b"[0, 0]\n"


def test_a_lease_does_not_hold_up(box):
    code = "import fcntl, os, signal, time\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\nfd = os.open('f', os.O_RDWR | os.O_CREAT)\nfcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\nprint('held', flush=True)\ntime.sleep(1000)"
    with box.open() as session:
        process = session.start(python(code))
        next(process.stream())
        with pytest.raises(OSError, match="lease"):
            session.read("f")
        process.kill()


def test_a_file_larger_than_the_limit_is_an_error_and_not_memory(box):
    with box.open() as session:
        session.exec(["truncate", "-s", "1T", "big"]).check()
        with pytest.raises(OSError, match="more than 1048576 bytes"):
            session.read("big", limit="1M")


def test_names_of_any_kind(box):
    names = ["new\nline", "-rf", "\x1b[31m", "ü", " ", "a" * 255]
    with box.open() as session:
        for name in names:
            session.write(name, name)
        assert session.list() == sorted(names)
        assert all(session.read(name) == name.encode() for name in names)
        session.exec(python("open(b'\\xff', 'w').close()")).check()
        assert "\udcff" in session.list() and session.read("\udcff") == b""


def test_more_names_than_the_limit_are_an_error(box):
    with box.open() as session:
        session.exec(["sh", "-c", "for i in $(seq 200); do :>$i; done"]).check()
        with pytest.raises(OSError, match="more than 100 names"):
            session.list(limit=100)


def test_a_full_workspace_is_an_error_of_the_write(box):
    with box.open() as session:
        with pytest.raises(OSError, match="No space left"):
            session.write("big", b"x" * (9 << 20))
        session.write("big", b"")
        session.write("small", b"x")


def test_a_deep_tree_can_be_read(box):
    with box.open() as session:
        path = "/".join(["d"] * 200) + "/f"
        session.write(path, "deep")
        assert session.read(path) == b"deep"


# ---- The end of the caller ----

CALLER = """
import sys, time
from pyruntime import Sandbox
box = Sandbox(memory="64M")
session = box.open()
process = session.start(["sh", "-c", "trap '' TERM; sleep 1000 & setsid sleep 1000 & wait"])
print(session._container.name, flush=True)
{then}
"""
THEN = {
    "killed": "time.sleep(1000)",
    "killed with a child that has its descriptors": "import os\nif os.fork() == 0: time.sleep(5); os._exit(0)\ntime.sleep(1000)",
    "an exception": "raise RuntimeError",
    "os._exit": "import os; os._exit(0)",
    "the end": "",
}


def left_of(name):
    """Return what is there of a container: its processes' groups, in every hierarchy."""
    found = subprocess.run(
        ["find", "/sys/fs/cgroup", "-name", f"*{name}*"], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


@pytest.mark.parametrize("then", THEN)
def test_nothing_is_left_when_the_caller_is_gone(then):
    command = [sys.executable, "-c", CALLER.format(then=THEN[then])]
    with subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as caller:
        name = caller.stdout.readline().decode().strip()
        assert name.startswith("sandbox-")
        if then.startswith("killed"):
            assert left_of(name)
            caller.kill()
    until(lambda: not left_of(name), "the end of the container")
    # What the caller could not remove itself, the next one does.
    place._sweep(place._base(), place.directory())
    until(lambda: not list(place._base().glob(f"{name.split('-')[1]}.*")), "its directory to be removed")


def test_what_a_process_of_another_pid_namespace_has_is_not_removed_while_it_lives():
    code = CALLER.format(then="sys.stdin.read(); assert session.exec(['true']).ok; assert box.run(['true']).ok")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    with subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        caller.stdout.readline()
        place._sweep(place._base(), place.directory())
        caller.stdin.close()
    assert caller.returncode == 0


def test_the_death_of_the_program_that_runs_the_container_is_an_error_and_leaves_nothing(box):
    session = box.open()
    os.kill(session._container.pid, signal.SIGKILL)
    session.close()
    with pytest.raises(SandboxError):
        session.exec(["true"])


def test_a_process_that_is_killed_from_outside_is_no_good_end(box):
    with box.open() as session:
        process = session.start(["sleep", "1000"])
        session._container.kill()
        assert process.wait().returncode == -9
        with pytest.raises(SandboxError):
            session.exec(["true"])


def test_an_interrupted_call_leaves_nothing(box, programs):
    def interrupt(*_):
        raise KeyboardInterrupt

    def when_it_runs():
        until(lambda: "sleep" in programs(), "the program")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    watcher = threading.Thread(target=when_it_runs)
    try:
        watcher.start()
        with pytest.raises(KeyboardInterrupt):
            box.run(["sleep", "1000"])
    finally:
        watcher.join()
        signal.signal(signal.SIGALRM, before)


def test_many_calls_leak_nothing(box):
    sizes = set()
    for _ in range(30):
        box.run(["true"]).check()
        sizes.add(len(os.listdir("/proc/self/fd")))
    assert len(sizes) == 1


def test_a_sandbox_that_is_dropped_takes_its_bundle_along(no_leaks):
    box = Sandbox()
    bundle = box._prepare()
    box.run(["true"]).check()
    assert bundle.is_dir()
    del box
    import gc

    gc.collect()
    assert not bundle.exists()
