"""System call filters, tested by making system calls in containers (config-linux.md#seccomp)."""

import array
import errno
import fcntl
import json
import os
import platform
import secrets
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="knows the numbers of x86_64"),
]

PROBE = Path(__file__).with_name("seccomp_probe.c")
DOCKER = Path(__file__).parents[2] / "spec-fixtures/config/good/docker.json"

# Numbers of x86_64.
SOCKET, CLONE, GETPPID, GETPGID, PERSONALITY = 41, 56, 110, 121, 135
GETPGID_32 = 132
NEWEST, BEYOND = 334, 460  # rseq; a number that profiles here do not reach

# A program that makes one system call: exit_group(7).
NOTHING_BUT_EXIT = 'void _start(void) { __asm__ volatile("syscall" : : "a"(231), "D"(7) : "rcx", "r11", "memory"); }'


def compile_c(source, target, *options):
    command = ["gcc", "-O1", "-static", *options, "-o", target, "-x", "c", "-"]
    subprocess.run(command, input=source, text=True, check=True)
    return target


@pytest.fixture(scope="session")
def programs(tmp_path_factory, rootfs):
    """A root filesystem with the probe and the program that does nothing."""
    path = tmp_path_factory.mktemp("seccomp") / "rootfs"
    shutil.copytree(rootfs, path, symlinks=True)
    compile_c(PROBE.read_text(), path / "bin/probe")
    compile_c(NOTHING_BUT_EXIT, path / "bin/nothing", "-nostdlib", "-ffreestanding")
    return path


def filtered(profile, *words, **process):
    """Return the change of a configuration that runs `words` in the container's PATH under `profile`."""

    def change(config):
        config["linux"]["seccomp"] = profile
        config["process"]["args"] = list(words)
        config["process"].update(process)

    return change


@pytest.fixture
def outcomes(runtime, bundle, programs):
    """outcomes(profile, calls, **process): what came of each "ABI:NUMBER:ARGUMENT" call under the profile."""

    def run(profile, *calls, **process):
        path = bundle(filtered(profile, "probe", *calls, **process))
        config = json.loads((path / "config.json").read_text())
        config["root"]["path"] = str(programs)
        (path / "config.json").write_text(json.dumps(config))
        lines = runtime("run", "-b", path, runtime.id()).stdout.splitlines()
        return [line.split(maxsplit=3)[3] for line in lines]

    return run


def rule(name, action="SCMP_ACT_ERRNO", number=99, *conditions):
    """Return an entry of syscalls; a condition is (index, operator, value) or with valueTwo after it."""
    entry = {"names": [name], "action": action}
    if action == "SCMP_ACT_ERRNO":
        entry["errnoRet"] = number
    if conditions:
        keys = ("index", "op", "value", "valueTwo")
        entry["args"] = [dict(zip(keys, condition, strict=False)) for condition in conditions]
    return entry


def allowing(*rules, **more):
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}


def call(number, first=0, abi=64):
    return f"{abi}:{number}:{first}"


# ---- Docker's profile ----


def docker_calls():
    """What the profile decides by arguments, and what lies around it."""
    yield "all"
    yield from (call(PERSONALITY, value) for value in (0, 1, 8, 9, 0x20000, 0x20008, 0x20009, 0xFFFFFFFF, 0x1FFFFFFFF))
    # Each namespace alone; CLONE_NEWTIME is not in the profile's mask. SIGCHLD, so that the probe can wait.
    flags = (0, 0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x7E020000)
    yield from (call(CLONE, flag | 17) for flag in flags)
    yield from (call(SOCKET, family) for family in range(47))


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_dockers_profile_decides_as_with_runc(bundle, runtime, programs, tmp_path, no_new_privileges):
    """All system calls of three ABIs, and those whose arguments matter, with the same outcome under both."""
    other = shutil.which("runc")
    if not other:
        pytest.skip("runc is not installed")

    def change(config):
        profile = json.loads(DOCKER.read_text())["linux"]["seccomp"]
        filtered(profile, "probe", *docker_calls(), noNewPrivileges=no_new_privileges)(config)
        config["root"]["path"] = str(programs)
        # runc 1.1 supports no newer version.
        config["ociVersion"] = "1.0.2"

    path, container = bundle(change), runtime.id()
    ours = runtime("run", "-b", path, container).stdout.splitlines()
    theirs = subprocess.run(
        [other, "--root", tmp_path / "runc", "run", "-b", path, container],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout.splitlines()
    assert len(ours) > 3 * 450
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == []


def test_dockers_profile_decides_as_it_says(outcomes):
    profile = json.loads(DOCKER.read_text())["linux"]["seccomp"]
    found = outcomes(
        profile,
        call(GETPPID),
        call(PERSONALITY, 8),
        call(PERSONALITY, 9),
        call(CLONE, 0x20000 | 17),
        call(435),  # clone3
        call(155),  # pivot_root
        call(BEYOND),
        call(20, abi=32),  # getpid of i386
        call(21, abi=32),  # mount of i386
    )
    assert found == [
        *("ok", "ok", "errno 1", "errno 1", "errno 38", "errno 1", "errno 38"),
        *("ok", "errno 1"),
    ]


# ---- Actions ----


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("SCMP_ACT_ALLOW", "ok"),
        ("SCMP_ACT_LOG", "ok"),
        ("SCMP_ACT_ERRNO", "errno 1"),
        ("SCMP_ACT_TRACE", "errno 38"),  # nobody traces
        ("SCMP_ACT_TRAP", "signal 31"),
        ("SCMP_ACT_KILL", "signal 31"),
        ("SCMP_ACT_KILL_THREAD", "signal 31"),
        ("SCMP_ACT_KILL_PROCESS", "signal 31"),
    ],
)
def test_an_action_does_what_it_says(outcomes, action, outcome):
    profile = allowing({"names": ["getppid"], "action": action}, rule("getpgid"))
    assert outcomes(profile, call(GETPPID), call(GETPGID, 1000)) == [outcome, "errno 99"]


def test_the_default_action_has_its_errno(outcomes):
    names = (
        "execve brk arch_prctl set_tid_address set_robust_list rseq mprotect prlimit64 readlinkat readlink getrandom "
    )
    names += "pipe2 clone close read write wait4 setitimer getpid exit_group newfstatat fstat ioctl"
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 77,
        "syscalls": [{"names": names.split(), "action": "SCMP_ACT_ALLOW"}],
    }
    # With an errno of its own too, what is newer than the profile does not exist.
    assert outcomes(profile, call(GETPPID), call(NEWEST), call(BEYOND)) == ["errno 77", "errno 22", "errno 38"]


def test_a_permissive_profile_leaves_new_calls_to_the_kernel(outcomes):
    number = 9999
    assert outcomes(allowing(rule("getpgid")), call(number), call(GETPGID, 1000)) == ["errno 38", "errno 99"]


def test_unknown_system_calls_are_left_out(outcomes):
    assert outcomes(allowing(rule("no_such_call"), rule("getpgid")), call(GETPGID, 1000)) == ["errno 99"]


def test_unknown_system_calls_are_an_error_where_the_annotation_wants_it(runtime, bundle):
    def change(config):
        filtered(allowing(rule("getpgid"), rule("no_such_call")), "true")(config)
        config["annotations"] = {"run.oci.seccomp_fail_unknown_syscall": "1"}

    done = runtime("run", "-b", bundle(change), runtime.id(), check=False)
    assert done.returncode == 1
    assert "/linux/seccomp/syscalls/1/names/0" in done.stderr


# ---- Arguments ----

BIG = 0x123456789A


@pytest.mark.parametrize(
    ("operator", "values", "matching"),
    [
        ("SCMP_CMP_EQ", (BIG,), {BIG}),
        ("SCMP_CMP_NE", (BIG,), {BIG - 1, BIG + 1, BIG & 0xFFFFFFFF}),
        ("SCMP_CMP_LT", (BIG,), {BIG - 1, BIG & 0xFFFFFFFF}),
        ("SCMP_CMP_LE", (BIG,), {BIG - 1, BIG, BIG & 0xFFFFFFFF}),
        ("SCMP_CMP_GT", (BIG,), {BIG + 1}),
        ("SCMP_CMP_GE", (BIG,), {BIG, BIG + 1}),
        # valueTwo is what the argument is under the mask that value is.
        ("SCMP_CMP_MASKED_EQ", (0xFFFFFFFF, BIG & 0xFFFFFFFF), {BIG, BIG & 0xFFFFFFFF}),
    ],
)
def test_an_operator_compares_all_64_bits(outcomes, operator, values, matching):
    candidates = [BIG - 1, BIG, BIG + 1, BIG & 0xFFFFFFFF]
    profile = allowing(rule("getpgid", "SCMP_ACT_ERRNO", 99, (0, operator, *values)))
    found = outcomes(profile, *(call(GETPGID, value) for value in candidates))
    assert {value for value, outcome in zip(candidates, found, strict=True) if outcome == "errno 99"} == matching


def test_conditions_on_several_arguments_must_all_hold(outcomes):
    both = allowing(rule("getpgid", "SCMP_ACT_ERRNO", 99, (0, "SCMP_CMP_EQ", 1000), (1, "SCMP_CMP_EQ", 0)))
    one = allowing(rule("getpgid", "SCMP_ACT_ERRNO", 99, (0, "SCMP_CMP_EQ", 1000), (1, "SCMP_CMP_EQ", 5)))
    assert outcomes(both, call(GETPGID, 1000), call(GETPGID, 1001)) == ["errno 99", "errno 3"]
    assert outcomes(one, call(GETPGID, 1000)) == ["errno 3"]


def test_conditions_on_one_argument_are_alternatives(outcomes):
    profile = allowing(rule("getpgid", "SCMP_ACT_ERRNO", 99, (0, "SCMP_CMP_EQ", 1000), (0, "SCMP_CMP_EQ", 1002)))
    found = outcomes(profile, *(call(GETPGID, value) for value in (1000, 1001, 1002)))
    assert found == ["errno 99", "errno 3", "errno 99"]


# ---- Architectures ----


def test_an_architecture_that_is_not_named_is_refused(outcomes):
    profile = allowing(rule("getpgid"), architectures=["SCMP_ARCH_X86_64"])
    assert outcomes(profile, call(GETPGID, 1000), call(GETPGID_32, 1000, abi=32)) == ["errno 99", "signal 31"]


def test_the_rules_hold_in_each_architecture_by_its_own_numbers(outcomes):
    profile = allowing(rule("getpgid"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    calls = (call(GETPGID, 1000), call(GETPGID_32, 1000, abi=32), call(GETPGID, 1000, abi=33))
    assert outcomes(profile, *calls) == ["errno 99"] * 3


def test_foreign_architectures_do_not_matter(outcomes):
    profile = allowing(rule("getpgid"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"])
    assert outcomes(profile, call(GETPGID, 1000)) == ["errno 99"]


def test_an_architecture_that_cannot_be_filtered_here_is_an_error(runtime, bundle):
    profile = allowing(rule("getpgid"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"])
    done = runtime("run", "-b", bundle(filtered(profile, "true")), runtime.id(), check=False)
    assert done.returncode == 1
    assert "/linux/seccomp/architectures/1" in done.stderr


# ---- When the filter is loaded ----


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"])
def test_the_filter_needs_to_allow_nothing_but_what_the_program_does(
    runtime, bundle, programs, no_new_privileges, action
):
    """execve and the program's own exit_group: init makes no other call under the filter."""

    def change(config):
        profile = {
            "defaultAction": action,
            "syscalls": [{"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}],
        }
        filtered(profile, "nothing", noNewPrivileges=no_new_privileges)(config)
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        config["process"].pop("capabilities", None)
        config["root"]["path"] = str(programs)

    assert runtime("run", "-b", bundle(change), runtime.id(), check=False).returncode == 7


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_program_has_the_filter_and_no_capability_that_loaded_it(runtime, bundle, no_new_privileges, uid):
    def change(config):
        filtered(allowing(rule("getpgid")), "cat", "/proc/self/status", noNewPrivileges=no_new_privileges)(config)
        config["linux"]["seccomp"]["syscalls"] = [rule("getppid")]
        config["process"]["user"] = {"uid": uid, "gid": uid}
        # CAP_KILL
        config["process"]["capabilities"] = {name: ["CAP_KILL"] for name in ("bounding", "effective", "permitted")}

    found = runtime("run", "-b", bundle(change), runtime.id()).stdout
    status = dict(line.split(":\t", 1) for line in found.splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == str(int(no_new_privileges))
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == (1 << 5 if uid == 0 else 0)
    assert int(status["CapBnd"], 16) == 1 << 5


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_in_a_user_namespace_its_privilege_loads_the_filter(runtime, bundle, no_new_privileges):
    def change(config):
        filtered(allowing(rule("getppid")), "grep", "Seccomp:", "/proc/self/status", noNewPrivileges=no_new_privileges)(
            config
        )
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [
            {"containerID": 0, "hostID": 100000, "size": 65536}
        ]
        config["process"]["user"] = {"uid": 5, "gid": 5}

    path = bundle(change, own=True)
    for folder in (path, path.parent):
        folder.chmod(0o755)
    assert runtime("run", "-b", path, runtime.id()).stdout == "Seccomp:\t2\n"


def test_a_created_container_waits_without_effective_privilege_of_the_filter(runtime, bundle):
    def change(config):
        filtered(allowing(rule("getppid")), "true", noNewPrivileges=False)(config)
        config["process"]["capabilities"] = {name: ["CAP_KILL"] for name in ("bounding", "effective", "permitted")}

    container = runtime.id()
    runtime("create", "-b", bundle(change), container)
    pid = json.loads(runtime("state", container).stdout)["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"CapEff:\t{1 << 5:016x}\n" in status
    assert f"CapBnd:\t{1 << 5:016x}\n" in status
    runtime("start", container)


def test_hooks_in_the_container_run_under_the_filter(runtime, bundle):
    def change(config):
        filtered(allowing(rule("getppid")), "cat", "/tmp/status")(config)
        config["root"]["readonly"] = False
        words = ["sh", "-c", "grep -E '^Seccomp:' /proc/self/status > /tmp/status"]
        config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": words}]}

    done = runtime("run", "-b", bundle(change, own=True), runtime.id())
    assert done.stdout == "Seccomp:\t2\n"


def test_a_program_that_cannot_be_executed_under_the_filter_is_an_error_that_names_it(runtime, bundle):
    profile = allowing(rule("execve"))
    done = runtime("run", "-b", bundle(filtered(profile, "true")), runtime.id(), check=False)
    assert done.returncode == 1
    assert "true" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        None,
        [],
        ["SECCOMP_FILTER_FLAG_TSYNC"],
        ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
    ],
)
@pytest.mark.clause("features-linux.md#seccomp/supported-flags")
def test_flags_are_accepted(outcomes, flags):
    more = {} if flags is None else {"flags": flags}
    assert outcomes(allowing(rule("getpgid"), **more), call(GETPGID, 1000)) == ["errno 99"]


# ---- Notification ----

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101


class Agent:
    """Takes one container process state with its descriptor, and answers `count` calls with `number` as their errno."""

    def __init__(self, path, number, count):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(30)
        self.number = number
        self.count = count
        self.calls = []
        self.late = False  # whether a descriptor came with other than the first data
        self.state = None
        self.names = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        fds = array.array("i")
        text = b""
        with connection:
            while True:
                chunk, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(8 * fds.itemsize))
                for _, _, data in control:
                    fds.frombytes(data)
                    self.late |= bool(text)
                if not chunk:
                    break
                text += chunk
        if not text:
            return
        self.state = json.loads(text)
        self.fds = len(fds)
        for _ in range(self.count):
            request = bytearray(80)
            fcntl.ioctl(fds[0], NOTIF_RECV, request)
            identity, pid, _, number = struct.unpack_from("QIIi", request)
            self.calls.append((pid, number))
            fcntl.ioctl(fds[0], NOTIF_SEND, struct.pack("QqiI", identity, 0, -self.number, 0))
        for fd in fds:
            os.close(fd)

    def close(self):
        self.thread.join(30)
        self.listener.close()
        assert not self.thread.is_alive()


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("flags", [[], ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]])
@pytest.mark.clause(
    "config-linux.md#seccomp/listener-one-state",
    "config-linux.md#seccomp/listener-closed",
    "config-linux.md#seccomp/seccomp-fd",
    "config-linux.md#the-container-process-state/json-and-rights",
    "config-linux.md#the-container-process-state/version",
    "config-linux.md#the-container-process-state/pid",
    "config-linux.md#the-container-process-state/state",
)
def test_the_agent_gets_the_descriptor_with_the_state_and_decides(
    runtime, bundle, programs, tmp_path, no_new_privileges, flags
):
    agent = Agent(tmp_path / "agent", 88, 1)

    def change(config):
        profile = allowing(
            rule("getppid", "SCMP_ACT_NOTIFY"),
            listenerPath=str(tmp_path / "agent"),
            listenerMetadata="for you",
            flags=flags,
        )
        filtered(profile, "probe", call(GETPPID), noNewPrivileges=no_new_privileges)(config)
        config["root"]["path"] = str(programs)
        config["annotations"] = {"key": "value"}

    path, container = bundle(change), runtime.id()
    runtime("create", "-b", path, container)
    before = json.loads(runtime("state", container).stdout)
    runtime("start", container)
    agent.close()
    assert agent.state == {
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": before["pid"],
        "metadata": "for you",
        "state": {name: before[name] for name in ("ociVersion", "id", "status", "pid", "bundle", "annotations")},
    }
    assert agent.fds == 1
    assert [number for _, number in agent.calls] == [GETPPID]


def test_the_agent_gets_the_pid_of_a_process_in_a_joined_pid_namespace(runtime, bundle, programs, tmp_path):
    first, container = runtime.id(), runtime.id()
    runtime("create", "-b", bundle(), first)
    agent = Agent(tmp_path / "agent", 88, 1)

    def change(config):
        profile = allowing(rule("getppid", "SCMP_ACT_NOTIFY"), listenerPath=str(tmp_path / "agent"))
        filtered(profile, "probe", call(GETPPID), noNewPrivileges=False)(config)
        config["root"]["path"] = str(programs)
        joined = next(entry for entry in config["linux"]["namespaces"] if entry["type"] == "pid")
        joined["path"] = f"/proc/{json.loads(runtime('state', first).stdout)['pid']}/ns/pid"

    runtime("create", "-b", bundle(change), container)
    pid = json.loads(runtime("state", container).stdout)["pid"]
    # It waits under the filter: another process of the namespace could trace it.
    assert "Seccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()
    runtime("start", container)
    agent.close()
    assert (agent.state["pid"], agent.state["state"]["pid"], agent.fds) == (pid, pid, 1)
    assert [number for _, number in agent.calls] == [GETPPID]


def test_the_agents_answer_reaches_the_program(runtime, bundle, programs, tmp_path):
    agent = Agent(tmp_path / "agent", 88, 2)

    def change(config):
        profile = allowing(rule("getppid", "SCMP_ACT_NOTIFY"), listenerPath=str(tmp_path / "agent"))
        filtered(profile, "probe", call(GETPPID), call(GETPPID))(config)
        config["root"]["path"] = str(programs)

    done = runtime("run", "-b", bundle(change), runtime.id())
    agent.close()
    assert [line.split(maxsplit=3)[3] for line in done.stdout.splitlines()] == ["errno 88", "errno 88"]
    assert "metadata" not in agent.state


@pytest.mark.clause("config-linux.md#the-container-process-state/rights-first")
def test_a_state_larger_than_the_socket_takes_at_once_arrives_whole(runtime, bundle, programs, tmp_path):
    agent = Agent(tmp_path / "agent", 88, 0)
    annotation = "x" * 3_000_000

    def change(config):
        profile = allowing(rule("getppid", "SCMP_ACT_NOTIFY"), listenerPath=str(tmp_path / "agent"))
        filtered(profile, "true")(config)
        config["annotations"] = {"large": annotation}

    runtime("run", "-b", bundle(change), runtime.id())
    agent.close()
    assert agent.state["state"]["annotations"] == {"large": annotation}
    assert agent.fds == 1
    assert not agent.late


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.clause("config-linux.md#seccomp/listener-socket", "config-linux.md#seccomp/listener-fails")
def test_an_agent_that_does_not_listen_is_an_error_and_nothing_is_left(runtime, bundle, tmp_path, exists):
    path = tmp_path / "agent"
    if exists:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    profile = allowing(rule("getppid", "SCMP_ACT_NOTIFY"), listenerPath=str(path))
    container = runtime.id()
    done = runtime("create", "-b", bundle(filtered(profile, "true")), container, check=False)
    assert done.returncode == 1
    assert "/linux/seccomp/listenerPath" in done.stderr
    assert errno.errorcode[errno.ECONNREFUSED if exists else errno.ENOENT] in done.stderr
    assert "does not exist" in runtime("state", container, check=False).stderr


@pytest.mark.clause("config-linux.md#seccomp/listener-fails")
def test_an_agent_that_hangs_up_is_an_error_of_start(runtime, bundle, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        profile = allowing(rule("getppid", "SCMP_ACT_NOTIFY"), listenerPath=str(tmp_path / "agent"))
        container = runtime.id()
        runtime("create", "-b", bundle(filtered(profile, "true")), container)
        listener.accept()[0].close()
    done = runtime("start", container, check=False)
    assert done.returncode == 1
    assert "agent" in done.stderr


def test_without_notification_the_listeners_path_is_ignored(outcomes):
    profile = allowing(rule("getpgid"), listenerPath="/no/such/agent", listenerMetadata="x")
    assert outcomes(profile, call(GETPGID, 1000)) == ["errno 99"]


# ---- Kept programs, and profiles that are too much ----


def test_a_kept_program_is_used_only_when_it_is_whole_and_for_this_profile(runtime, outcomes):
    profile = allowing(rule("getpgid", "SCMP_ACT_ERRNO", 50 + secrets.randbelow(40)))
    first = outcomes(profile, call(GETPGID, 1000))
    (kept,) = (runtime.root / "~seccomp").iterdir()
    content = kept.read_bytes()
    assert outcomes(profile, call(GETPGID, 1000)) == first
    for damaged in (b"", content[:-8], content[:100], b"\xff" * len(content), content.replace(b"getpgid", b"clone")):
        kept.write_bytes(damaged)
        assert outcomes(profile, call(GETPGID, 1000)) == first
        assert kept.read_bytes() == content


def test_programs_are_not_kept_where_others_could_write(runtime, outcomes):
    folder = runtime.root / "~seccomp"
    folder.mkdir(parents=True, mode=0o700)
    folder.chmod(0o770)
    assert outcomes(allowing(rule("getpgid")), call(GETPGID, 1000)) == ["errno 99"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("syscalls", "fits"),
    [
        ([{"names": [f"unknown_{number}" for number in range(300_000)], "action": "SCMP_ACT_ERRNO"}], True),
        ([rule("getpgid", "SCMP_ACT_ERRNO", 99, (0, "SCMP_CMP_EQ", 1000))] * 50_000, True),
        ([rule("getpgid", "SCMP_ACT_ERRNO", 99, (0, "SCMP_CMP_EQ", number)) for number in range(50_000)], False),
    ],
    ids=["names", "repeated", "conditions"],
)
def test_a_profile_of_megabytes_is_an_error_or_a_container_in_bounded_time(runtime, bundle, syscalls, fits):
    path = bundle(filtered({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls}, "true"))
    done = runtime("run", "-b", path, runtime.id(), check=False, timeout=20)
    assert done.returncode == (0 if fits else 1)
    assert fits or "/linux/seccomp/syscalls" in done.stderr
