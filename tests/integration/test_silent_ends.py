"""A container that ends before its program runs says why, and its status is the runtime's and not the program's."""

import os
import signal

import pytest

from changes import linux, process, resources

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

RUNTIMES_STATUS = {"run": 1, "start": 1, "exec": 255}


@pytest.fixture(params=["run", "start", "exec"])
def begin(request, runtime, bundle):
    """Return a function that begins `words` by a verb, and what the verb said; the status is the runtime's.

    files   path in the root filesystem -> (content, mode)
    """

    def do(*words, files=(), change=lambda config: None, status=None):
        place = bundle(lambda config: _with(config, change, words, request.param), own=True)
        for path, (content, mode) in dict(files).items():
            (place / "rootfs" / path).write_bytes(content)
            (place / "rootfs" / path).chmod(mode)
        name = runtime.id()
        verb = request.param
        if verb == "run":
            done = runtime("run", "--bundle", place, name, check=False)
        elif verb == "start":
            done = runtime("create", "--bundle", place, name, check=False)
            if done.returncode == 0:
                done = runtime("start", name, check=False)
        else:
            runtime("create", "--bundle", place, name)
            done = runtime("exec", name, *words, check=False)
        assert done.returncode == (RUNTIMES_STATUS[verb] if status is None else status), done.stderr
        assert "error" in done.stderr.splitlines()[0]
        return done.stderr

    return do


def _with(config, change, words, verb):
    config["process"]["args"] = ["sleep", "60"] if verb == "exec" else list(words)
    change(config)


def _elf(machine, loader=b""):
    """A file whose ELF header says that it is a program for `machine` (e_machine), with this PT_INTERP."""
    head = bytearray(64 + 56)
    head[:7] = b"\x7fELF\2\1\1"
    head[16:20] = (2).to_bytes(2, "little") + machine.to_bytes(2, "little")
    for place, size, value in ((20, 4, 1), (32, 8, 64), (52, 2, 64), (54, 2, 56), (56, 2, 1)):
        head[place : place + size] = value.to_bytes(size, "little")
    for place, size, value in ((64, 4, 3), (72, 8, 120), (96, 8, len(loader)), (104, 8, len(loader))):
        head[place : place + size] = value.to_bytes(size, "little")
    return bytes(head) + loader


FOREIGN = 183 if os.uname().machine == "x86_64" else 62

FILES = {
    "interpreter": (b"#! /bin/none -x\n", 0o755, "its interpreter /bin/none (the #! line) is missing"),
    "crlf": (b"#!/bin/sh\r\necho\r\n", 0o755, r"looks for '/bin/sh\r'; save it with LF"),
    "no line": (b"echo hello\n", 0o755, "neither an ELF file nor a script with a #! line"),
    "empty": (b"", 0o755, "exec format error"),
    "mark": (b"\xef\xbb\xbf#!/bin/sh\n", 0o755, "a byte order mark stands before its #! line"),
    "machine": (_elf(FOREIGN), 0o755, f"and this host is {os.uname().machine}"),
    "mode": (b"#!/bin/sh\n", 0o644, "its mode 0644 lets nobody execute it"),
    "interpreter's mode": (b"#!/etc/plain\n", 0o755, "its interpreter /etc/plain (the #! line) may not be executed"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_the_program_lacks_is_named(begin, name):
    content, mode, words = FILES[name]
    said = begin("/bin/it", files={"bin/it": (content, mode), "etc/plain": (b"", 0o644)})
    assert "cannot execute /bin/it: " in said
    assert words in said


def test_the_loader_that_is_missing_is_named(begin):
    dynamic = b"/lib/ld-nowhere.so.1\0"
    content = _elf(62 if os.uname().machine == "x86_64" else 183, dynamic)
    said = begin("/bin/it", files={"bin/it": (content, 0o755)})
    assert "its loader /lib/ld-nowhere.so.1 (PT_INTERP) is missing in the container" in said
    assert "no such file or directory" in said  # by which Docker and Podman choose their status 127


def test_a_mount_without_execution_is_named(begin):
    def change(config):
        config["mounts"].append({"destination": "/opt", "source": "/bin", "options": ["bind", "noexec"]})

    assert "its mount has the option noexec" in begin("/opt/true", change=change)


def test_an_owner_who_does_not_let_the_user_execute_is_named(begin):
    files = {"bin/it": (b"#!/bin/sh\n", 0o750)}
    said = begin("/bin/it", files=files, change=process(user={"uid": 1000, "gid": 1000}))
    assert "its mode 0750 and owner 0:0 do not let user 1000:1000 execute it" in said


def test_of_what_path_leads_to_the_file_that_may_not_be_executed_is_named(begin):
    said = begin("it", files={"bin/it": (b"#!/bin/sh\n", 0o644)}, change=process(env=["PATH=/none:/bin"]))
    assert "executable file not found in $PATH: /bin/it: its mode 0644 lets nobody execute it" in said


ACTIONS = ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"]
# What is allowed beside -> where the profile forbids execve.
PROFILES = {
    "default": (lambda action: {"defaultAction": action}, "/linux/seccomp/defaultAction"),
    "rule": (
        lambda action: {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": action}]},
        "/linux/seccomp/syscalls",
    ),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_filter_that_forbids_execve_is_named(begin, action, profile):
    make, pointer = PROFILES[profile]
    said = begin("true", change=linux(seccomp=make(action)))
    assert "the seccomp filter forbids " in said
    assert pointer in said


def test_a_program_that_ends_by_a_signal_is_not_taken_for_one_that_never_began(containers):
    done = containers.start().exec("sh", "-c", "kill -SEGV $$", check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGSEGV, "")


SMALL = resources(memory={"limit": 8 << 20})
GREEDY = "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo $x >/dev/null"
KILLED = "the kernel has killed "


def test_a_program_that_the_kernel_kills_for_lack_of_memory_is_said_to_be(containers):
    done = containers.run(f"exec sh -c '{GREEDY.replace(chr(39), chr(34))}'", SMALL, check=False)
    assert done.returncode == 128 + signal.SIGKILL
    assert KILLED in done.stderr
    assert f"its limit is {8 << 20} bytes (/linux/resources/memory/limit" in done.stderr


def test_a_process_of_exec_that_the_kernel_kills_for_lack_of_memory_is_said_to_be(containers):
    container = containers.start(SMALL)
    done = container.exec("sh", "-c", GREEDY, check=False)
    assert done.returncode == 128 + signal.SIGKILL
    assert KILLED in done.stderr


# busybox's sh asks for its parent when it begins; sleep does not.
FILTER = linux(
    seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS"}]}
)
FORBIDDEN = "exit status 159 means SIGSYS: the seccomp filter has killed a process"


def test_a_program_that_its_filter_kills_is_said_to_be(containers):
    done = containers.run("true", FILTER, check=False)
    assert done.returncode == 128 + signal.SIGSYS
    assert FORBIDDEN in done.stderr
    assert "/linux/seccomp" in done.stderr


def test_a_process_of_exec_that_its_filter_kills_is_said_to_be(containers):
    container = containers.start(lambda config: (FILTER(config), process(args=["sleep", "60"])(config)))
    done = container.exec("sh", "-c", "true", check=False)
    assert done.returncode == 128 + signal.SIGSYS
    assert FORBIDDEN in done.stderr


def test_a_program_without_a_filter_may_exit_with_that_status(containers):
    done = containers.run("exit 159", check=False)
    assert (done.returncode, done.stderr) == (159, "")
