"""Containers that join another one's pid namespace, whose processes try to trace them with CAP_SYS_PTRACE."""

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import re
import select
import shutil
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from host import attacker
from test_hostile_exec import TIMEOUT, Box, box, traces_others, until, watcher  # noqa: F401  # fixtures

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

HOOK = [{"path": "/bin/true"}]
FSOPEN, FSCONFIG, SET_FD, EINVAL = 430, 431, 5, 22
ALLOW, ERRNO, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000  # seccomp(2)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter(steps, flags=0) -> int:
    """Set a seccomp filter for this process and its children; return what seccomp(2) does."""
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    seccomp = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    result = ctypes.CDLL(None, use_errno=True).syscall(seccomp, 1, flags, ctypes.byref(program))
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result


def without_the_option() -> None:
    """Make fsconfig(2) refuse the option of procfs that names a pid namespace, as Linux before 6.17 does."""
    _filter(
        [
            (0x20, 0, 0, 0),  # the number of the call
            (0x15, 0, 3, FSCONFIG),
            (0x20, 0, 0, 24),  # its second argument
            (0x15, 0, 1, SET_FD),
            (0x06, 0, 0, ERRNO | EINVAL),
            (0x06, 0, 0, ALLOW),
        ]
    )


@contextlib.contextmanager
def fsopen_waits(let_go):
    """Let a process wait in fsopen(2) until `let_go`, which gets its pid, returns.

    Yields a function that is to be called in the child that will be, or have as its children, that process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, FSOPEN), (0x06, 0, 0, NOTIFY), (0x06, 0, 0, ALLOW)]
    new_listener, receive, answer, go_on = 8, 0xC0502100, 0xC0182101, 1  # seccomp_unotify(2)

    def answers():
        _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        with open(listener, "rb", buffering=0):
            # It hangs up when all processes have ended.
            while poll.poll()[0][1] & select.POLLIN:
                call = bytearray(80)
                with contextlib.suppress(FileNotFoundError):  # the process was killed meanwhile
                    fcntl.ioctl(listener, receive, call)
                    number, pid = struct.unpack_from("QI", call)
                    let_go(pid)
                    fcntl.ioctl(listener, answer, struct.pack("QqiI", number, 0, 0, go_on))

    with ours, theirs, ThreadPoolExecutor() as pool:
        ended = pool.submit(answers)
        try:
            yield lambda: socket.send_fds(theirs, [b"l"], [_filter(steps, new_listener)])
        finally:
            theirs.close()  # if the child never was
        ended.result()


class Neighbour:
    """A container with a process that looks at every new one of its pid namespace, and what that one has seen."""

    def __init__(self, box, watcher, marker):  # noqa: F811
        def damage(rootfs):
            shutil.copy(watcher, rootfs / "bin/watcher")
            (rootfs / "seen").write_text("")

        script = f"watcher {marker} /seen 2>&1 &\nread line < /proc/$!/stat"
        self.inside: Box = box(script, change=traces_others, damage=damage)

    def joined(self, change=None):
        """Return the change of a configuration by which it joins the pid namespace."""

        def join(config):
            entries = config["linux"]["namespaces"]
            next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{self.inside.pid}/ns/pid"
            if change is not None:
                change(config)

        return join

    def seen(self):
        """Return what it has seen of processes that have not come to their program."""
        lines = (self.inside.rootfs / "seen").read_text().splitlines()
        return [line for line in lines if "busybox" not in line.split()[0]]


def plain(config):
    config["process"]["args"] = ["true"]


def another_user(config):
    plain(config)
    config["process"]["user"] = {"uid": 5, "gid": 5}
    config["mounts"].append({"destination": "/more", "type": "proc", "source": "proc", "options": ["ro"]})


def hooks_of_the_host(config):
    plain(config)
    config["hooks"] = {"prestart": HOOK, "createRuntime": HOOK}


CHANGES = {"plain": plain, "another user": another_user, "hooks of the host": hooks_of_the_host}
KERNELS = {"": None, "before Linux 6.17": without_the_option}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_of_the_host_is_reached_through_a_container_that_joins(
    runtime,
    bundle,
    box,  # noqa: F811
    watcher,  # noqa: F811
    tmp_path,
    change,
    kernel,
):
    """CVE-2016-9962, CVE-2024-21626: it has a root filesystem to build, and is in no namespace of its own for pids."""
    marker = tmp_path / "of-the-host"
    marker.write_text("")
    neighbour = Neighbour(box, watcher, marker)
    place = bundle(neighbour.joined(CHANGES[change]))
    rounds = 0
    before: list[str] = []
    while rounds < 40 or (not before and rounds < 1000):
        rounds += 1
        runtime("run", "-b", place, runtime.id(), preexec_fn=KERNELS[kernel])
        before = neighbour.seen()
    assert before, "never seen before its program"
    assert [line for line in before if " reaches " in line] == []
    # Standard streams of this test are its own; then there are the host, the gate where start comes, and the list of
    # users of the container, which is read for HOME.
    own = re.compile(r"fd \d+ -> (pipe:|socket:|anon_inode:\[fscontext\]|/etc/passwd$)")
    for line in before:
        what = line.split(maxsplit=1)[1]
        if what.startswith("fd "):
            assert own.match(what) or int(what.split()[1]) < 3, line
        assert not what.startswith("writable "), line


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_joins_has_a_procfs_of_the_namespace_that_it_joins(runtime, bundle, box, kernel):  # noqa: F811
    inside = box()

    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{inside.pid}/ns/pid"
        script = "readlink /proc/self/ns/pid; cat /proc/1/comm; cat /more/1/comm; echo $$"
        config["process"]["args"] = ["sh", "-c", script]
        config["mounts"].append({"destination": "/more", "type": "proc", "source": "proc", "options": ["ro"]})

    done = runtime("run", "-b", bundle(join), runtime.id(), preexec_fn=KERNELS[kernel])
    namespace, first, more, pid = done.stdout.split()
    assert namespace == os.readlink(f"/proc/{inside.pid}/ns/pid")
    assert (first, more) == ("sleep", "sleep")
    assert int(pid) > 1


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_what_joins_needs_room_for_its_own_processes_alone(runtime, bundle, box, kernel, limit):  # noqa: F811
    inside = box()

    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{inside.pid}/ns/pid"
        config["process"]["args"] = ["cat", "/proc/self/comm"]
        config["linux"]["resources"] = {"pids": {"limit": limit}}

    assert runtime("run", "-b", bundle(join), runtime.id(), preexec_fn=KERNELS[kernel]).stdout == "cat\n"


faker = attacker("faker")


REFUSALS = {
    "tmpfs": "a process of the pid namespace sent another filesystem",
    "nested": "a process of the pid namespace sent another filesystem",
    "pipe": "fsopen(proc)",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_no_other_filesystem_takes_the_place_of_the_procfs(runtime, bundle, box, faker, kind):  # noqa: F811
    """Before Linux 6.17 another process, which those of the joined namespace can see, opens it."""

    def damage(rootfs):
        shutil.copy(faker, rootfs / "bin/faker")
        (rootfs / "sent").write_text("")

    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{inside.pid}/ns/pid"
        config["process"]["args"] = ["readlink", "/proc/self/ns/pid"]

    script = f"mkfifo /up; faker {kind} /sent > /up & read line < /up"
    inside = box(script, change=traces_others, damage=damage)
    sent = inside.rootfs / "sent"

    def let_go(pid):
        """The helper gets no context before the false one is there."""
        if os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{inside.pid}/ns/pid"):
            until(sent.read_bytes)

    with fsopen_waits(let_go) as waits:

        def prepare():
            waits()
            without_the_option()

        place = bundle(join)
        done = runtime("run", "-b", place, runtime.id(), check=False, preexec_fn=prepare, timeout=TIMEOUT)
    assert sent.read_bytes(), "nothing was sent"
    assert (done.returncode, done.stdout) == (1, "")
    assert REFUSALS[kind] in done.stderr


flooder = attacker("flooder")


def test_start_ends_although_somebody_sends_without_end_in_the_name_of_init(runtime, bundle, box, flooder):  # noqa: F811
    """And holds the connection of `start` open, so that this never reads the end of it."""

    def damage(rootfs):
        shutil.copy(flooder, rootfs / "bin/flooder")
        (rootfs / "sent").write_text("")

    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{inside.pid}/ns/pid"
        config["process"]["args"] = ["sleep", "1000"]

    inside = box("flooder /sent &\nread line < /proc/$!/stat", change=traces_others, damage=damage)
    place = bundle(join)
    sent = b""
    for _ in range(200):
        name = runtime.id()
        # It is flooded as well, and then fails.
        if runtime("create", "-b", place, name, check=False, timeout=TIMEOUT).returncode == 0:
            sent = (inside.rootfs / "sent").read_bytes()
            done = runtime("start", name, check=False, timeout=TIMEOUT)
            assert "internal error" not in done.stderr and "Traceback" not in done.stderr, done.stderr
        runtime("delete", "--force", name, timeout=TIMEOUT)
        if len((inside.rootfs / "sent").read_bytes()) > len(sent):
            return
    raise AssertionError("nothing was ever sent to start")


def test_the_state_names_the_process_that_is_there(runtime, bundle, box):  # noqa: F811
    inside = box()

    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{inside.pid}/ns/pid"
        config["process"]["args"] = ["sleep", "1000"]

    place, name = bundle(join), runtime.id()
    runtime("create", "-b", place, "--pid-file", place / "pid", name)
    state = json.loads(runtime("state", name).stdout)
    assert state["status"] == "created" and int((place / "pid").read_text()) == state["pid"]
    assert os.readlink(f"/proc/{state['pid']}/ns/pid") == os.readlink(f"/proc/{inside.pid}/ns/pid")
    runtime("start", name)
    assert json.loads(runtime("state", name).stdout)["status"] == "running"
    runtime("delete", "--force", name)


SNARE = """
mount -t tmpfs none /proc
mkdir -p /proc/self/fd
i=0
while [ $i -lt 300 ]; do ln -s "$1" /proc/self/fd/$i; i=$((i+1)); done
echo ready
exec sleep 1000
"""


def test_a_false_proc_in_the_mount_namespace_that_is_joined_leads_to_no_file_of_the_host(runtime, bundle, tmp_path):
    """Every path /proc/self/fd/N is a link to a file there, whose mode and content must stay where they are."""
    victim = tmp_path / "victim"
    victim.write_text("secret\n")
    victim.chmod(0o600)

    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "mount")["path"] = f"/proc/{owner.pid}/ns/mnt"
        config["mounts"] = [
            {"destination": "/spool", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
            {"destination": "/spool", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro"]},
        ]
        for name in ("maskedPaths", "readonlyPaths"):
            config["linux"].pop(name, None)
        config["root"]["readonly"] = False
        script = "cat /spool/own; stat -c %a /dev/null; touch /spool/x || echo read-only"
        config["process"]["args"] = ["sh", "-c", script]

    words = ["unshare", "--mount", "sh", "-c", SNARE, "sh", victim]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout.readline() == "ready\n"
            place = bundle(join, own=True)
            (place / "rootfs/spool").mkdir()
            (place / "rootfs/spool/own").write_text("own\n")
            done = runtime("run", "-b", place, runtime.id(), check=False)
        finally:
            owner.kill()
    assert (done.returncode, done.stdout.splitlines()) == (0, ["own", "666", "read-only"]), done.stderr
    assert victim.stat().st_mode & 0o7777 == 0o600


# ---- Confinement of a process that waits ----

FORBIDDEN = 99  # errno of the filter
CONFINED = [f"CapPrm:\t{1 << 19:016x}", f"CapEff:\t{1 << 19:016x}", "Seccomp:\t2"]
REFUSED = ["capset 0", f"mount -{FORBIDDEN}", "sethostname -1"]
on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the attack is written for x86_64")


driver = attacker("driver")


def only_traces(config):
    sets = ("bounding", "effective", "permitted")
    config["process"]["capabilities"] = {name: ["CAP_SYS_PTRACE"] for name in sets}


def refusing(*calls):
    rule = {"names": list(calls), "action": "SCMP_ACT_ERRNO", "errnoRet": FORBIDDEN}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def joining(inside, profile, no_new_privileges=False):
    def join(config):
        entries = config["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "pid")["path"] = f"/proc/{inside.pid}/ns/pid"
        config["process"].update(args=["grep", "^Seccomp:", "/proc/self/status"], noNewPrivileges=no_new_privileges)
        config["linux"]["seccomp"] = profile
        only_traces(config)

    return join


@on_x86_64
@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_what_joins_waits_for_start_with_its_filter_and_no_other_capability(
    runtime,
    bundle,
    box,  # noqa: F811
    driver,
    no_new_privileges,
):
    """A process of the namespace may trace it, at any time until `start`."""
    inside = box(change=only_traces, damage=lambda rootfs: shutil.copy(driver, rootfs / "bin/driver"))
    place, name = bundle(joining(inside, refusing("mount"), no_new_privileges)), runtime.id()
    with open(place / "said", "wb") as said:
        command = runtime.command("create", "-b", place, "--pid-file", place / "pid", name)
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, check=True)
    status = Path(f"/proc/{int((place / 'pid').read_text())}/status").read_text()
    number = re.search(r"^NSpid:.*\t(\d+)$", status, re.MULTILINE).group(1)
    done = inside("driver", number)
    assert done.stdout.splitlines() == [*CONFINED, *REFUSED], done.stderr
    runtime("start", name)
    until(lambda: (place / "said").read_text() == "Seccomp:\t2\n")


@on_x86_64
@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_hook_in_the_container_finds_process_1_with_its_filter_and_no_other_capability(
    runtime, bundle, driver, no_new_privileges
):
    def change(config):
        only_traces(config)
        config["process"].update(args=["cat", "/said"], noNewPrivileges=no_new_privileges)
        config["root"]["readonly"] = False
        config["linux"]["seccomp"] = refusing("mount")
        config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "driver 1 > /said"]}]}

    place = bundle(change, own=True)
    shutil.copy(driver, place / "rootfs/bin/driver")
    done = runtime("run", "-b", place, runtime.id())
    assert done.stdout.splitlines() == [*CONFINED, *REFUSED]


NEEDED = {
    "capset": (["capset"], "capset"),
    "a new process": (["clone", "clone3"], "clone3"),
    "setsid": (["setsid"], "setsid"),
    "messages": (["sendto"], "it waits for start under its filter"),
}


@pytest.mark.parametrize("needed", NEEDED)
def test_a_filter_that_forbids_what_comes_before_the_program_is_named(runtime, bundle, box, needed):  # noqa: F811
    """The filter of what joins is loaded before its first process can be seen, and this goes on under it."""
    calls, named = NEEDED[needed]
    name = runtime.id()
    done = runtime("create", "-b", bundle(joining(box(), refusing(*calls))), name, check=False, timeout=TIMEOUT)
    assert done.returncode == 1
    assert named in done.stderr and "/linux/seccomp" in done.stderr, done.stderr
    assert runtime("state", name, check=False).returncode == 1


def test_a_filter_that_knows_clone_but_not_clone3_lets_a_container_join(runtime, bundle, box):  # noqa: F811
    profile = refusing("clone3")
    profile["syscalls"][0]["errnoRet"] = 38  # ENOSYS, as many profiles have it
    done = runtime("run", "-b", bundle(joining(box(), profile)), runtime.id())
    assert done.stdout == "Seccomp:\t2\n"
