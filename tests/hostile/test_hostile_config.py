"""Configurations and callers that would give a container access to something of the host."""
# ruff: noqa: B023, F401, F811
# Fixtures are imported from host.py, and lambdas are called at once.

import fcntl
import hashlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from host import SECRET, host, keeper


@pytest.fixture
def leaked(host):
    """Descriptors from 3 on that a careless caller leaves open: the host's root, a directory, a file, a program."""
    fds = [
        os.open(place, os.O_RDONLY) for place in ("/", host.outside, host.outside / "file", host.outside / "program")
    ]
    # The same again, O_PATH, and far up.
    fds += [fcntl.fcntl(os.open("/", os.O_PATH), fcntl.F_DUPFD, 500)]
    yield tuple(fds)
    for fd in fds:
        os.close(fd)


def process(**properties):
    """Return a change of the configuration's process."""
    return lambda config: config["process"].update(properties)


# ---- Descriptors (CVE-2024-21626) ----


def test_no_descriptor_is_a_working_directory(host, leaked, subtests):
    numbers = [*range(3, 9), *leaked]
    places = [f"/proc/self/fd/{fd}" for fd in dict.fromkeys(numbers)]
    places += [f"/proc/{way}/fd/{leaked[0]}" for way in ("thread-self", "1", "self/task/1")]
    places += [f"/proc/self/fd/{leaked[0]}/..", f"/proc/self/fd/{leaked[0]}/etc", "/proc/1/root/..", "/proc/1/cwd"]
    for place in places:
        with subtests.test(cwd=place):
            result = host.attack(None, process(cwd=place), pass_fds=leaked)
            assert result.returncode == 1 and "inside" not in result.stdout
            assert place in result.stderr


def test_no_descriptor_is_a_working_directory_through_a_link(host, leaked):
    result = host.attack(
        lambda rootfs: (rootfs / "work").symlink_to(f"/proc/self/fd/{leaked[0]}"),
        process(cwd="/work"),
        pass_fds=leaked,
    )
    assert result.returncode == 1 and "inside" not in result.stdout


def test_no_descriptor_is_the_program(host, leaked, subtests):
    for fd in leaked[2:4]:
        with subtests.test(fd=fd):
            result = host.attack(None, process(args=[f"/proc/self/fd/{fd}"]), pass_fds=leaked)
            assert result.returncode == 1
            assert f"cannot execute /proc/self/fd/{fd}" in result.stderr


def test_no_descriptor_is_a_destination(host, leaked):
    def change(config) -> None:
        config["mounts"].append({"destination": f"/proc/self/fd/{leaked[1]}/new", "type": "tmpfs", "source": "tmpfs"})

    assert host.attack(None, change, pass_fds=leaked).returncode == 1


def test_the_program_sees_no_descriptor_but_the_standard_ones(host, leaked):
    result = host.attack(None, None, "for fd in /proc/self/fd/*; do readlink $fd; done", pass_fds=leaked)
    null, *output = result.stdout.splitlines()
    assert null == "/dev/null"
    # Of the call that is looked at, which alone has files without a name (conftest.py).
    assert len(output) == len(set(output)) == 2
    assert all(name.endswith(" (deleted)") for name in output)


def test_preserved_descriptors_are_passed_and_no_others(host, bundle):
    place = bundle(lambda config: config["process"].update(args=["sh", "-c", "ls /proc/$$/fd; cat <&4"]))
    command = host.runtime.command("run", "--preserve-fds", "2", "-b", place, host.runtime.id())
    leaking = f'exec "$@" 3< / 4< {host.outside}/file 5< / 6< {host.outside} 7< /'
    result = subprocess.run(["sh", "-c", leaking, "sh", *command], capture_output=True, text=True, check=True)
    assert result.stdout.split("\n", 5) == ["0", "1", "2", "3", "4", SECRET]


def test_descriptors_that_are_not_there_cannot_be_preserved(host, bundle):
    result = host.runtime("run", "--preserve-fds", "5", "-b", bundle(), host.runtime.id(), check=False)
    assert result.returncode == 1 and "EBADF" in result.stderr


def test_a_created_container_holds_nothing_of_the_host(host, leaked, bundle):
    place = bundle(process(user={"uid": 1000, "gid": 1000}))
    name = host.runtime.id()
    host.runtime("create", "-b", place, name, pass_fds=leaked)
    pid = state(host, name)["pid"]
    held = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if int(fd.name) > 2]
    # The gate, and the signals that end it.
    assert sorted(text.split(":")[0] for text in held) == ["anon_inode", "socket"], held
    assert "anon_inode:[signalfd]" in held
    # Not dumpable: its user's other processes can neither trace it nor look into /proc/PID (CVE-2016-9962).
    assert os.stat(f"/proc/{pid}/environ").st_uid == 0


INITS = {"plain": {}, "Python's": {"hooks": {"startContainer": [{"path": "/bin/true"}]}}}


@pytest.mark.parametrize("init", INITS)
def test_the_command_line_and_environment_of_the_runtime_are_not_seen_inside(host, bundle, init):
    """Every process of the container may read the command line of its first one; it names directories of the host."""
    name = host.runtime.id()
    place = bundle(lambda config: config.update(INITS[init]))
    host.runtime("create", "-b", place, name, env={**os.environ, "OF_THE_HOST": "secret-of-the-host"})
    assert host.runtime("exec", name, "cat", "/proc/1/cmdline").stdout == "pyruntime init\0"
    pid = state(host, name)["pid"]
    assert Path(f"/proc/{pid}/environ").read_bytes().strip(b"\0") == b""
    # What a process with CAP_SYS_PTRACE could read.
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    begin, end = next([int(word, 16) for word in line.split()[0].split("-")] for line in maps if "[stack]" in line)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(begin)
        stack = memory.read(end - begin)
    assert b"secret-of-the-host" not in stack and str(host.runtime.root).encode() not in stack


def test_a_start_hook_sees_no_descriptor_but_the_standard_ones(host, leaked):
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", "exec > /held; for fd in /proc/self/fd/*; do readlink $fd; done; true"],
    }
    result = host.attack(
        None, lambda config: config.update(hooks={"startContainer": [hook]}), "cat /held", pass_fds=leaked
    )
    assert result.returncode == 0, result.stderr
    assert [line.split(" ")[0] for line in result.stdout.splitlines()] == ["/memfd:state", "/held", "/memfd:output"]


def state(host, name):
    """Return the state of the container `name`."""
    import json

    return json.loads(host.runtime("state", name).stdout)


# ---- The runtime's own program (CVE-2019-5736) ----


def checksum(place) -> str:
    return hashlib.sha256(Path(place).read_bytes()).hexdigest()


@pytest.mark.parametrize("way", ["args", "link", "script"])
def test_the_runtimes_program_cannot_be_changed_from_inside(sealed, host, bundle, way):
    before = checksum(sealed.program)

    def configure(config) -> None:
        config["process"]["args"] = ["/proc/self/exe"] if way == "args" else ["/program"]

    place = bundle(configure, own=True)
    if way == "link":
        (place / "rootfs/program").symlink_to("/proc/self/exe")
    elif way == "script":
        (place / "rootfs/program").write_text("#!/proc/self/exe\n")
        (place / "rootfs/program").chmod(0o755)
    name = host.runtime.id()
    host.runtime("create", "-b", place, name)
    pid = state(host, name)["pid"]
    # Even the host's root cannot write what the process shows as its program.
    with pytest.raises(OSError, match=r"Text file busy|Read-only file system|Operation not permitted"):
        os.close(os.open(f"/proc/{pid}/exe", os.O_WRONLY))
    assert not os.path.samefile(f"/proc/{pid}/exe", sealed.program)
    host.runtime("start", name, check=False)
    host.runtime("delete", "--force", name)
    assert checksum(sealed.program) == before


# ---- What is inherited ----


def test_signals_of_the_caller_are_not_inherited(host):
    def careless() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD, signal.SIGRTMIN + 3})
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGRTMIN + 5):
            signal.signal(number, signal.SIG_IGN)

    result = host.attack(
        None, process(args=["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]), preexec_fn=careless
    )
    assert result.stdout.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "SigCgt:", "0" * 16], result.stderr


def test_more_groups_than_there_can_be_are_an_error(host):
    result = host.attack(None, process(user={"uid": 1, "gid": 1, "additionalGids": list(range(65537))}))
    assert "too many groups" in result.stderr and "/process/user" in result.stderr


def test_a_file_on_stdin_and_stdout_keeps_its_owner(host, bundle, tmp_path):
    place = bundle(lambda c: c["process"].update(args=["true"], user={"uid": 1000, "gid": 1000}))
    # The keeper of `host` compares the owner, too.
    with open(host.outside / "file", "rb") as stdin, open(tmp_path / "output", "wb") as stdout:
        command = host.runtime.command("run", "-b", place, host.runtime.id())
        subprocess.run(command, stdin=stdin, stdout=stdout, check=True)
    assert (tmp_path / "output").stat().st_uid == os.geteuid()


def test_a_pipe_on_stdout_can_be_opened_again_by_the_user(host, bundle):
    script = "echo again > /proc/self/fd/1"
    place = bundle(lambda c: c["process"].update(args=["sh", "-c", script], user={"uid": 1000, "gid": 1000}))
    command = host.runtime.command("run", "-b", place, host.runtime.id())
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout == b"again\n"


# ---- Namespaces and parameters of the host ----


@pytest.mark.parametrize(
    ("kind", "file", "change"),
    [
        ("uts", "uts", {"hostname": "taken"}),
        ("uts", "uts", {"domainname": "taken"}),
        ("network", "net", {"sysctl": {"net.ipv4.ip_default_ttl": "77"}}),
        ("ipc", "ipc", {"sysctl": {"kernel.msgmax": "4242"}}),
    ],
)
def test_a_joined_namespace_that_is_the_hosts_is_not_changed(host, kind, file, change):
    def configure(config) -> None:
        config.pop("hostname", None)
        (entry,) = (entry for entry in config["linux"]["namespaces"] if entry["type"] == kind)
        entry["path"] = f"/proc/{os.getpid()}/ns/{file}"
        (config["linux"] if "sysctl" in change else config).update(change)

    watched = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname", "/proc/sys/kernel/msgmax"]
    watched += ["/proc/sys/net/ipv4/ip_default_ttl"]
    before = [Path(place).read_text() for place in watched]
    result = host.attack(None, configure)
    assert result.returncode == 1 and "is the host's" in result.stderr
    assert [Path(place).read_text() for place in watched] == before


def test_parameters_cannot_climb_out_of_their_namespace(host):
    keys = [
        "kernel.core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net.//.kernel.core_pattern",
        "net/ipv4/../../../sysrq-trigger",
        "net..kernel.core_pattern",
        "../sysrq-trigger",
        "/proc/sysrq-trigger",
        "vm.overcommit_memory",
        "kernel.hostname",
    ]
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    result = host.attack(None, lambda config: config["linux"].update(sysctl=dict.fromkeys(keys, "|/x")))
    assert result.returncode == 1
    assert f"{len(keys)} errors" in result.stderr, result.stderr
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_a_device_is_made_below_the_root_only(host):
    def change(config) -> None:
        path = f"{'/..' * 20}{host.outside}/device"
        config["linux"]["devices"] = [{"path": path, "type": "c", "major": 1, "minor": 3}]

    result = host.attack(None, change, f"stat -c %t:%T {host.outside}/device")
    assert result.stdout == "1:3\n", result.stderr


def test_a_cgroup_path_cannot_climb(host, subtests):
    for path in ("/../../../../../tmp/cgroup", "..", "a/../../../b", "/a/.."):
        with subtests.test(path=path):
            result = host.attack(None, lambda config: config["linux"].update(cgroupsPath=path))
            assert result.returncode == 1 and "/linux/cgroupsPath" in result.stderr


# ---- Too much of everything ----


def test_a_huge_program_name_is_an_error_that_can_be_read(host):
    result = host.attack(None, process(args=["/" + "x" * 200_000]))
    assert result.returncode == 1
    assert "ENAMETOOLONG" in result.stderr and len(result.stderr) < 300_000


def test_a_huge_environment_is_an_error_of_start(host):
    result = host.attack(None, process(args=["/bin/true"], env=[f"A{index}={'x' * 100_000}" for index in range(80)]))
    assert result.returncode == 1 and "E2BIG" in result.stderr


def test_many_mounts_end_in_a_container(host):
    def change(config) -> None:
        config["mounts"] += [
            {"destination": f"/many/{index}", "type": "tmpfs", "source": "tmpfs"} for index in range(1000)
        ]

    assert host.attack(None, change, "grep -c /many/ /proc/mounts").stdout == "1000\n"


def test_control_characters_of_the_configuration_do_not_reach_a_terminal(host):
    result = host.attack(None, process(args=["/\x1b]0;title\x07\x1b[2J\r"]))
    assert result.returncode == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", result.stderr), repr(result.stderr)
