"""The container's process (config.md#process, #posix-process, #linux-process, #posix-platform-user)."""

import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from containers import until

from changes import LIMITS, bind, capable, linux, mapped, process, user, without, writable
from terminals import read_until, take_terminal

PROCESS = pytest.mark.clause("config.md#process")
POSIX = pytest.mark.clause("config.md#posix-process")
LINUX = pytest.mark.clause("config.md#linux-process")
USER = pytest.mark.clause("config.md#posix-platform-user")


def args(*words):
    return process(args=list(words))


# ---- args, env, cwd ----


@PROCESS
@pytest.mark.clause("runtime.md#lifecycle/program-run")
def test_args_reach_the_program_as_they_are(containers):
    words = ["printf", "<%s>", "", "a b", "$HOME", "*", "'\"\\", "-n", "ü"]
    assert containers.run("", args(*words)).stdout == "<><a b><$HOME><*><'\"\\><-n><ü>"


@PROCESS
def test_the_program_is_looked_up_in_the_path_of_the_configuration(containers, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "program").write_text("#!/bin/sh\necho found $0\n")
    (place / "program").chmod(0o755)
    changes = bind(place, "/home"), process(args=["program"], env=["PATH=/nowhere:/home:/bin"])
    assert containers.run("", *changes).stdout == "found /home/program\n"


@PROCESS
@pytest.mark.parametrize("path", ["PATH=", "PATH=:/nowhere", "X="])
def test_no_directory_of_the_path_is_the_working_directory(containers, path):
    """execvp(3) takes an empty name for it; runc and crun do not."""
    said = containers.refused(process(args=["busybox", "true"], cwd="/bin", env=[path]))
    assert "executable file not found in $PATH" in said


@PROCESS
def test_a_program_with_a_slash_is_not_looked_up(containers):
    assert containers.run("", process(args=["./busybox", "echo", "yes"], cwd="/bin", env=[])).stdout == "yes\n"


@PROCESS
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["/no/such/program"], "ENOENT"),
        (["no-such-program"], "executable file not found in $PATH"),
        (["/etc/passwd"], "EACCES"),
        (["/etc"], ""),
        ([""], ""),
    ],
)
def test_a_program_that_cannot_be_executed_is_an_error_of_create(containers, words, reason):
    said = containers.refused(args(*words))
    assert "/process/args" in said
    assert reason in said


@PROCESS
@pytest.mark.clause("config.md#process/args-one")
def test_without_args_there_is_an_error(containers):
    assert "/process/args" in containers.refused(process(args=[]))


@PROCESS
def test_the_environment_is_that_of_the_configuration_and_no_other(containers):
    changes = process(env=["PATH=/bin", "A=1", "B=x=y z", "EMPTY=", "HOME=/here"])
    found = containers.run("", args("env"), changes, env={**os.environ, "SECRET": "of the caller"}).stdout
    assert sorted(found.splitlines()) == ["A=1", "B=x=y z", "EMPTY=", "HOME=/here", "PATH=/bin"]


@PROCESS
def test_of_several_paths_the_last_one_counts(containers):
    # As with runc, and as the environment of execvp(3) would have it after each of them is set.
    words = ["echo", "found"]
    assert containers.run("", process(args=words, env=["PATH=/nowhere", "PATH=/bin"])).stdout == "found\n"
    assert "/process/args/0" in containers.refused(process(args=words, env=["PATH=/bin", "PATH=/nowhere"]))


@PROCESS
def test_cwd(inside):
    assert inside("pwd; readlink /proc/self/cwd", process(cwd="/usr/bin")).split()[-1] == "/bin"
    assert inside("pwd", process(cwd="/tmp")) == "/tmp"


@PROCESS
def test_cwd_is_made_where_it_is_missing(inside):
    assert inside("pwd", process(cwd="/new/deep/place"), writable, own=True) == "/new/deep/place"


@PROCESS
def test_cwd_is_made_below_a_mount(inside, tmp_path):
    (tmp_path / "place").mkdir()
    assert inside("pwd", bind(tmp_path / "place", "/home"), process(cwd="/home/new")) == "/home/new"
    assert (tmp_path / "place/new").is_dir()


@PROCESS
@pytest.mark.parametrize("cwd", ["relative", ""])
@pytest.mark.clause("config.md#process/cwd-absolute")
def test_cwd_must_be_absolute(containers, cwd):
    assert "/process/cwd" in containers.refused(process(cwd=cwd))


@PROCESS
def test_cwd_that_is_a_file_is_an_error(containers):
    assert "/process/cwd" in containers.refused(process(cwd="/etc/passwd"))


@PROCESS
def test_a_cwd_that_the_user_may_not_enter_is_an_error_or_entered_before(inside, tmp_path):
    # As with runc, root enters the directory before it becomes the user.
    (tmp_path / "closed").mkdir(mode=0o700)
    changes = bind(tmp_path / "closed", "/home"), user(uid=1000, gid=1000), process(cwd="/home")
    assert inside("readlink /proc/self/cwd; ls . 2>/dev/null || echo closed", *changes).split() == ["/home", "closed"]


@PROCESS
def test_a_cwd_that_nobody_may_enter_is_an_error(containers, tmp_path):
    # Its owner is not mapped, so that root of the user namespace has no right to it either.
    (tmp_path / "closed").mkdir(mode=0o700)
    changes = bind(tmp_path / "closed", "/home"), mapped(), process(cwd="/home")
    assert "/process/cwd" in containers.refused(*changes)
    assert "/process/cwd" in containers.refused(*changes, user(uid=1000, gid=1000))


@PROCESS
def test_a_cwd_that_the_user_may_enter_and_root_may_not(inside, tmp_path):
    # Where the group is not mapped, root of the user namespace has no right to it.
    (tmp_path / "own").mkdir(mode=0o700)
    os.chown(tmp_path / "own", 101000, 0)
    changes = bind(tmp_path / "own", "/home"), mapped(), user(uid=1000, gid=1000), process(cwd="/home")
    assert inside("pwd", *changes) == "/home"


@PROCESS
def test_the_null_device_of_the_caller_is_the_containers_own(containers):
    # That of the host is a file outside, which the process could look at.
    container = containers.start()
    assert os.path.samestat(container.proc("fd/0").stat(), container.path("/dev/null").stat())
    assert not os.path.samestat(container.proc("fd/0").stat(), os.stat("/dev/null"))


# ---- user ----


def identity(text):
    """Return the numbers of the Uid, Gid and Groups lines of a status."""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return lines["Uid"].split(), lines["Gid"].split(), lines["Groups"].split()


@USER
def test_uid_and_gid(inside):
    uid, gid, groups = identity(inside("cat /proc/self/status", user(uid=1234, gid=4321)))
    assert uid == ["1234"] * 4
    assert gid == ["4321"] * 4
    assert groups == []


@USER
def test_additional_groups_and_none_of_the_caller(inside):
    groups = identity(inside("cat /proc/self/status", user(uid=1, gid=2, additionalGids=[50, 5, 600])))[2]
    assert set(groups) == {"5", "50", "600"}


@USER
def test_root_without_additional_groups_has_none(inside):
    assert set(identity(inside("cat /proc/self/status", extra_groups=[4242]))[2]) <= {"0"}


@USER
@pytest.mark.parametrize(("mask", "mode"), [(0o077, "600"), (0o022, "644"), (0, "666"), (0o777, "0")])
def test_umask(inside, mask, mode):
    assert inside("echo > /dev/shm/file; stat -c %a /dev/shm/file", user(umask=mask)) == mode


@USER
def test_the_umask_of_the_caller_does_not_count(containers):
    assert containers.run("umask", user(umask=0o27), umask=0o077).stdout == "0027\n"


@USER
def test_the_standard_streams_belong_to_the_user(containers, tmp_path):
    done = subprocess.run(
        containers.runtime.command(
            "run",
            "-b",
            containers.bundle("echo x > /proc/self/fd/1", user(uid=1000, gid=1000)),
            containers.runtime.id(),
        ),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=30,
    )
    assert done.stdout == b"x\n"


@USER
def test_a_negative_user_is_an_error(containers):
    assert "/process/user/uid" in containers.refused(user(uid=-1))


@USER
@pytest.mark.parametrize(("uid", "home"), [(0, "/root"), (65534, "/home"), (4711, "/")])
def test_a_home_that_is_not_configured_is_that_of_the_containers_passwd(containers, uid, home):
    found = containers.run("", args("env"), process(env=["PATH=/bin"]), user(uid=uid, gid=uid)).stdout
    assert sorted(found.splitlines()) == [f"HOME={home}", "PATH=/bin"]


# ---- capabilities ----

KINDS = {
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "effective": "CapEff",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}
NUMBERS = {
    "CHOWN": 0,
    "KILL": 5,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "AUDIT_WRITE": 29,
}


def sets(text):
    """Return the five sets of a status as sets of numbers."""
    lines = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    masks = {kind: int(lines[name], 16) for kind, name in KINDS.items()}
    return {kind: {number for number in range(64) if mask >> number & 1} for kind, mask in masks.items()}


def numbers(*names):
    return {NUMBERS[name] for name in names}


def capabilities(**kinds):
    return process(capabilities={kind: [f"CAP_{name}" for name in names] for kind, names in kinds.items()})


FIVE_SETS = capabilities(
    bounding=["CHOWN", "KILL", "NET_RAW", "SETUID"],
    effective=["KILL", "NET_RAW"],
    permitted=["CHOWN", "KILL", "NET_RAW"],
    inheritable=["KILL", "NET_RAW"],
    ambient=["NET_RAW"],
)


@LINUX
def test_each_of_the_five_sets_is_set_by_itself(inside):
    # An ordinary user, because the kernel gives root's programs their permitted set anew at execve.
    found = sets(inside("cat /proc/self/status", FIVE_SETS, user(uid=1000, gid=1000)))
    assert found["bounding"] == numbers("CHOWN", "KILL", "NET_RAW", "SETUID")
    assert found["inheritable"] == numbers("KILL", "NET_RAW")
    assert found["ambient"] == numbers("NET_RAW")
    assert found["permitted"] == found["effective"] == numbers("NET_RAW")


@LINUX
def test_the_sets_of_init_before_it_executes_the_program(containers):
    found = sets(containers.create(FIVE_SETS, user(uid=1000, gid=1000)).proc("status").read_text())
    assert found["permitted"] == numbers("CHOWN", "KILL", "NET_RAW")
    assert found["effective"] == numbers("KILL", "NET_RAW")
    assert found["bounding"] == numbers("CHOWN", "KILL", "NET_RAW", "SETUID")
    assert found["inheritable"] == numbers("KILL", "NET_RAW")
    assert found["ambient"] == numbers("NET_RAW")


@LINUX
def test_the_program_is_executed_with_the_effective_set(containers):
    # Its directory is another user's, so that looking for it takes the capability: in the effective set.
    def closed(config):
        place = containers.folder / f"bundle{containers.count}/rootfs/home/closed"
        place.mkdir(mode=0o700)
        os.chown(place, 5, 5)
        (place / "busybox").write_bytes((place / "../../bin/busybox").read_bytes())
        (place / "busybox").chmod(0o755)
        config["process"]["args"] = ["/home/closed/busybox", "echo", "found"]

    names = ["DAC_OVERRIDE"]
    some = {"bounding": names, "permitted": names}
    assert containers.inside("", closed, capabilities(**some, effective=names), own=True) == "found"
    assert "/process/args" in containers.refused(closed, capabilities(**some), own=True)


@LINUX
def test_root_has_the_bounding_set(inside):
    changes = capabilities(bounding=["CHOWN"], effective=["CHOWN"], permitted=["CHOWN"])
    found = sets(inside("cat /proc/self/status", changes))
    assert found["permitted"] == found["effective"] == found["bounding"] == numbers("CHOWN")
    assert found["inheritable"] == found["ambient"] == set()


@LINUX
def test_an_ordinary_user_has_none_without_ambient_ones(inside):
    found = sets(inside("cat /proc/self/status", capable("CHOWN", "KILL"), user(uid=1000, gid=1000)))
    assert found["permitted"] == found["effective"] == set()


@LINUX
def test_without_capabilities_there_are_none(inside):
    found = sets(inside("cat /proc/self/status", without("process/capabilities"), user(uid=1000, gid=1000)))
    assert not any(found.values())


@LINUX
def test_a_dropped_capability_is_of_no_use(inside):
    assert "not permitted" in inside("chown 1 /dev/shm 2>&1 || true", capable("KILL"))
    assert inside("chown 1 /dev/shm 2>&1 && echo done", capable("CHOWN")) == "done"


@LINUX
@pytest.mark.clause(
    "runtime.md#warnings/operation-continues",
    "config.md#linux-process/capability-warning",
    "config.md#linux-process/capability-no-failure",
)
def test_a_capability_that_the_kernel_does_not_know_is_a_warning(containers):
    done = containers.run("echo runs", capable("KILL", "FLY"))
    assert done.stdout == "runs\n"
    assert "CAP_FLY" in done.stderr


@LINUX
@pytest.mark.parametrize(
    ("refused", "configured"),
    [
        ("inheritable", {"bounding": ["KILL"], "inheritable": ["KILL", "CHOWN"]}),
        ("effective", {"bounding": ["KILL", "CHOWN"], "permitted": ["KILL"], "effective": ["KILL", "CHOWN"]}),
        ("ambient", {"bounding": ["KILL", "CHOWN"], "permitted": ["KILL", "CHOWN"], "ambient": ["CHOWN"]}),
    ],
)
@pytest.mark.clause("config.md#linux-process/capability-warning", "config.md#linux-process/capability-no-failure")
def test_a_capability_that_another_set_rules_out_is_a_warning(containers, refused, configured):
    done = containers.run("cat /proc/self/status", capabilities(**configured), user(uid=1000, gid=1000))
    assert NUMBERS["CHOWN"] not in sets(done.stdout)[refused]
    assert "CAP_CHOWN" in done.stderr and f"/process/capabilities/{refused}" in done.stderr
    assert "CAP_KILL" not in done.stderr


@LINUX
def test_capabilities_in_a_user_namespace(inside):
    found = sets(inside("cat /proc/self/status", mapped(), capable("SYS_CHROOT", "KILL")))
    assert found["effective"] == found["bounding"] == numbers("SYS_CHROOT", "KILL")


@USER
@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("uid", 5, "/process/user/uid"),
        ("gid", 5, "/process/user/gid"),
        ("additionalGids", [1, 5], "/process/user/additionalGids/1"),
    ],
)
def test_a_user_that_the_user_namespace_does_not_have_is_an_error_before_anything_is_made(
    containers, name, value, place
):
    # The change of the terminal's owner would fail first.
    said = containers.refused(mapped(size=5), user(**{name: value}), process(terminal=True))
    assert place in said
    assert f"linux.{'uid' if name == 'uid' else 'gid'}Mappings" in said
    assert "fchown" not in said


@USER
def test_exec_as_a_user_that_the_user_namespace_does_not_have_is_an_error(containers):
    container = containers.start(mapped(size=6))
    for words, place in (
        (("--user", "6"), "process.user.uid is 6"),
        (("--additional-gids", "6"), "additionalGids has 6"),
    ):
        done = containers.runtime("exec", *words, container.id, "true", check=False)
        assert done.returncode == 255
        assert place in done.stderr and "linux." in done.stderr
        assert "config.json  " not in done.stderr  # which has no such id
    assert containers.runtime("exec", "--user", "5:5", container.id, "id", "-u").stdout == "5\n"


# ---- rlimits ----


@POSIX
@pytest.mark.parametrize("who", [0, 1000])
@pytest.mark.clause(
    "config.md#posix-process/rlimit-getrlimit",
    "config.md#posix-process/rlimit-soft",
    "config.md#posix-process/rlimit-hard",
)
def test_limits(inside, who):
    changes = process(
        rlimits=[
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_FSIZE", "soft": 1000000, "hard": 2000000},
        ]
    )
    found = inside("cat /proc/self/limits", changes, user(uid=who, gid=who))
    lines = {line[:25].strip(): line[25:].split()[:2] for line in found.splitlines()}
    assert lines["Max open files"] == ["100", "200"]
    assert lines["Max core file size"] == ["0", "0"]
    assert lines["Max file size"] == ["1000000", "2000000"]


@POSIX
def test_limits_that_are_not_listed_are_the_callers(inside):
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    found = inside("ulimit -Sc; ulimit -Hc", process(rlimits=[])).split()
    assert found == ["unlimited" if value == -1 else str(value // 512) for value in (soft, hard)]


@POSIX
def test_a_limit_of_descriptors_above_the_kernels_own_is_an_error_that_names_it(containers):
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    limit = {"type": "RLIMIT_NOFILE", "soft": 100, "hard": most + 1}
    said = containers.refused(process(rlimits=[limit]))
    assert "/process/rlimits/0" in said and str(most + 1) in said
    assert f"fs.nr_open: {most}" in said
    assert "CAP_SYS_RESOURCE" not in said


@POSIX
@pytest.mark.clause("config.md#posix-process/rlimit-getrlimit")
def test_every_name_of_a_limit_is_known(inside):
    limits = []
    for name in LIMITS:
        number = getattr(resource, f"RLIMIT_{name}", {"LOCKS": 10}.get(name, -1))
        hard = resource.getrlimit(number)[1]
        value = 2**64 - 1 if hard == -1 else hard
        limits.append({"type": f"RLIMIT_{name}", "soft": value, "hard": value})
    assert inside("echo ok", process(rlimits=limits)) == "ok"


@POSIX
@pytest.mark.clause("config.md#posix-process/rlimit-type-once")
def test_a_limit_listed_twice_is_an_error(containers):
    limit = {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    assert "/process/rlimits/1" in containers.refused(process(rlimits=[limit, dict(limit)]))


@POSIX
@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(
            {"type": "RLIMIT_SPEED", "soft": 0, "hard": 0},
            marks=pytest.mark.clause("config.md#posix-process/rlimit-type-unknown"),
        ),
        {"type": "RLIMIT_CORE", "soft": 1},
        {"type": "RLIMIT_CORE", "soft": 1, "hard": 0},
        {"type": "RLIMIT_CORE", "soft": -1, "hard": 0},
    ],
)
def test_a_limit_that_cannot_be_is_an_error(containers, limit):
    assert "/process/rlimits/0" in containers.refused(process(rlimits=[limit]))


# ---- oomScoreAdj, noNewPrivileges ----


@LINUX
@pytest.mark.parametrize("who", [0, 1000])
@pytest.mark.clause("config.md#linux-process/oom-score-set")
def test_the_oom_score(inside, who):
    before = open("/proc/self/oom_score_adj").read()
    assert inside("cat /proc/self/oom_score_adj", process(oomScoreAdj=500), user(uid=who, gid=who)) == "500"
    assert open("/proc/self/oom_score_adj").read() == before


@LINUX
@pytest.mark.clause("config.md#linux-process/oom-score-kept")
def test_without_an_oom_score_the_callers_is_kept(inside):
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    own.write_text("321")  # which no runtime would write by itself
    try:
        found = inside("cat /proc/self/oom_score_adj")
    finally:
        own.write_text(before)
    assert found == "321"


@LINUX
def test_an_oom_score_beyond_the_kernels_range_is_an_error(containers):
    assert "/process/oomScoreAdj" in containers.refused(process(oomScoreAdj=1001))


@LINUX
@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(inside, wanted):
    assert inside("grep NoNewPrivs /proc/self/status", process(noNewPrivileges=wanted)).split()[1] == str(int(wanted))


# ---- process group and terminal ----


@PROCESS
def test_the_process_leads_a_session(inside):
    pid, group, session = inside("awk '{print $1, $5, $6}' /proc/$$/stat").split()
    assert pid == group == session


@PROCESS
def test_signals_are_as_a_new_program_expects_them(containers):
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        status = containers.run("", args("cat", "/proc/self/status")).stdout
    finally:
        signal.signal(signal.SIGTERM, previous)
    lines = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig") and ":\t" in line)
    assert int(lines["SigIgn"], 16) == 0
    assert int(lines["SigBlk"], 16) == 0


@PROCESS
def test_without_a_terminal_the_streams_are_the_callers(containers, tmp_path):
    path = containers.bundle("cat; echo err >&2")
    done = subprocess.run(
        containers.runtime.command("run", "-b", path, containers.runtime.id()),
        input=b"in\n",
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (b"in\n", b"err\n")


class Console:
    """A console socket and the terminal that arrives there."""

    def __init__(self, path):
        self.path = path
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(1)
        self.server.settimeout(20)

    def master(self):
        """Return the terminal's master."""
        return take_terminal(self.server)


@pytest.fixture
def console(tmp_path):
    made = Console(tmp_path / "console.sock")
    yield made
    made.server.close()


@PROCESS
def test_the_terminal_goes_to_the_console_socket(containers, console):
    container = containers.create(
        process(terminal=True),
        words=["--console-socket", console.path],
        script="test -t 0 && test -t 1 && tty; read x; echo got-$x",
    )
    master = console.master()
    container.start()
    assert b"/dev/pts/0" in read_until(master, b"\n")
    os.write(master, b"hello\n")
    read_until(master, b"got-hello")
    os.close(master)


@PROCESS
def test_the_terminal_controls_the_process(containers, console):
    container = containers.create(
        process(terminal=True),
        words=["--console-socket", console.path],
        # A loop, because a signal that comes just before `sleep` waits for the end of it.
        script="trap 'echo interrupted; exit 0' INT; echo ready; while :; do sleep 0.05; done",
    )
    master = console.master()
    container.start()
    read_until(master, b"ready")
    os.write(master, b"\x03")
    read_until(master, b"interrupted")
    os.close(master)


@PROCESS
def test_the_size_of_the_console(containers, console):
    size = {"height": 33, "width": 121}
    container = containers.create(
        process(terminal=True, consoleSize=size),
        words=["--console-socket", console.path],
        script="stty size; sleep 1000",
    )
    master = console.master()
    container.start()
    assert b"33 121" in read_until(master, b"\n")
    assert struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8)))[:2] == (33, 121)
    os.close(master)


@PROCESS
@pytest.mark.clause("config.md#process/console-size-ignored")
def test_the_size_of_the_console_is_ignored_without_a_terminal(inside):
    assert inside("echo ok", process(terminal=False, consoleSize={"height": 1, "width": 2})) == "ok"


@PROCESS
def test_the_terminal_belongs_to_the_user(containers, console):
    container = containers.create(
        process(terminal=True), user(uid=1000, gid=1000), words=["--console-socket", console.path], script="sleep 1000"
    )
    master = console.master()
    assert container.path("/dev/pts/0").stat().st_uid == 1000
    assert stat.S_ISCHR(container.path("/dev/console").stat().st_mode)
    os.close(master)


@PROCESS
def test_a_terminal_without_console_socket_is_an_error_of_create(containers):
    assert "/process/terminal" in containers.refused(process(terminal=True))


@PROCESS
def test_a_console_socket_without_terminal_is_an_error(containers, console):
    path = containers.bundle("true")
    done = containers.runtime(
        "create", "-b", path, "--console-socket", console.path, containers.runtime.id(), check=False
    )
    assert done.returncode == 1
    assert "/process/terminal" in done.stderr


@PROCESS
def test_a_console_socket_where_nobody_listens_is_an_error(containers, tmp_path):
    path = containers.bundle("true", process(terminal=True))
    name = containers.runtime.id()
    done = containers.runtime("create", "-b", path, "--console-socket", tmp_path / "none", name, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr
    containers.nothing_left(name)


# ---- No process ----


@PROCESS
@pytest.mark.clause("runtime.md#start")
@pytest.mark.clause("runtime.md#start/process-missing")
def test_without_a_process_the_container_can_be_created_and_not_started(containers):
    container = containers.create(lambda config: config.pop("process"))
    assert container.status == "created"
    done = container.start(check=False)
    assert done.returncode == 1
    assert "/process" in done.stderr
    assert container.status == "created"
    container.delete("--force")


@PROCESS
def test_processes_of_a_container_end_with_it(containers):
    container = containers.start(script="sleep 1000 & sleep 1000 & wait")
    children = until(lambda: container.proc(f"task/{container.pid}/children").read_text().split()[1:], "two children")
    container.kill("KILL")
    container.wait()
    until(lambda: not any(alive(pid) for pid in children), "their end")


def alive(pid):
    """Tell whether process `pid` runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@PROCESS
def test_the_state_names_the_pid_on_the_host(containers):
    container = containers.start(linux(), script="exec sleep 7777")
    until(lambda: b"7777" in container.proc("cmdline").read_bytes(), "the program")
    assert json.loads(containers.runtime("state", container.id).stdout)["pid"] == container.pid
