"""`exec` into real containers: what the process is given, what it joins, how it ends, and when it is refused."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from containers import group_below, until

import bundle as bundles
from pyruntime.store import process as processes
from terminals import CONVERSATION, converse, read_until, take_terminal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TIMEOUT = 30
FAILED = 255
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
GETPGID_REFUSED = {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}


class Box:
    """A container whose first process does nothing, and `exec` in it: box("sh", "-c", "exit 3", options=["--tty"])."""

    def __init__(self, runtime, path, container):
        self.runtime = runtime
        self.path = path
        self.id = container

    @property
    def pid(self):
        return json.loads(self.runtime("state", self.id).stdout)["pid"]

    def command(self, *words, options=()):
        return self.runtime.command("exec", *options, self.id, *words)

    def __call__(self, *words, options=(), **how):
        return self.runtime("exec", *options, self.id, *words, **how)

    def said(self, script, *options):
        """Return what `script` prints in a shell."""
        return self("sh", "-c", script, options=options).stdout.strip()

    def refused(self, *words, options=(), status=FAILED):
        """Return the error of an exec that fails."""
        done = self(*words, options=options, check=False)
        assert done.returncode == status, done
        return done.stderr

    def detached(self, *words, options=()):
        """Return the pid of a process that runs in the background."""
        place = self.runtime.root.parent / "pid"
        self(*words, options=["--detach", "--pid-file", place, *options])
        return int(place.read_text())

    @contextlib.contextmanager
    def going(self, options=(), command=("cat",), **how):
        """Have a process run meanwhile; gives its pid.

        Not detached: the process that then adopts it may reap it a second late, and the container ends only after that.
        """
        place = self.runtime.root.parent / "pid"
        words = self.command(*command, options=["--pid-file", place, *options])
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **how) as started:
            started.stdin.write(b"x")
            started.stdin.flush()
            # Its output shows that the program runs.
            assert started.stdout.read(1) == b"x"
            yield int(place.read_text())
            started.stdin.close()
            assert started.wait(TIMEOUT) == 0


@pytest.fixture
def box(runtime, bundle):
    """A factory: box(change, …) makes a running container, with create=True one that waits for start."""

    def make(*changes, own=False, create=False):
        def change(config):
            config["process"]["args"] = ["sleep", "1000"]
            for each in changes:
                each(config)

        made = Box(runtime, bundle(change, own=own), runtime.id())
        runtime(*(["create"] if create else ["run", "--detach"]), "-b", made.path, made.id)
        return made

    return make


def linux(**values):
    return lambda config: config["linux"].update(values)


def process(**values):
    return lambda config: config["process"].update(values)


def namespaces(**kinds):
    """Return the change that adds the namespaces of `kinds`: None for a new one, else the path to join."""

    def change(config):
        kept = [entry for entry in config["linux"]["namespaces"] if entry["type"] not in kinds]
        new = [{"type": kind} if path is None else {"type": kind, "path": str(path)} for kind, path in kinds.items()]
        config["linux"]["namespaces"] = kept + new

    return change


def mapped():
    """Return the change to a user namespace in which the ids from 0 on are those of the host from 100000 on."""
    entry = {"containerID": 0, "hostID": 100000, "size": 65536}

    def change(config):
        namespaces(user=None)(config)
        config["linux"].update(uidMappings=[entry], gidMappings=[dict(entry)])

    return change


def process_file(place, **values):
    """Write process.json; return its path."""
    whole = {"cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **values}
    path = place / "process.json"
    path.write_text(json.dumps(whole))
    return path


# ---- How it ends ----


@pytest.mark.parametrize("options", [[], ["--tty"]])
def test_it_exits_with_the_status_of_the_process(box, options, subtests):
    inside = box()
    for script, status in {
        "exit 0": 0,
        "exit 7": 7,
        "exit 255": 255,
        "kill -9 $$": 137,
        "kill -TERM $$; sleep 9": 143,
    }.items():
        with subtests.test(script=script):
            assert inside("sh", "-c", script, options=options, check=False).returncode == status


def test_what_fails_is_255(box):
    inside = box()
    assert "/no/such/program" in inside.refused("/no/such/program")
    assert "not found in $PATH" in inside.refused("no-such-program")
    assert "/etc/passwd" in inside.refused("/etc/passwd")
    inside.refused()
    assert inside.runtime("exec", "no-such-container", "true", check=False).returncode == FAILED


@pytest.mark.parametrize("options", [[], ["--tty"]])
def test_signals_are_passed_on(box, options):
    inside = box()
    script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(
        inside.command("sh", "-c", script, options=options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout.readline() == "ready\n"
        started.send_signal(signal.SIGUSR1)
        assert started.stdout.readline() == "caught\n"
        assert started.wait(TIMEOUT) == 9


def test_killing_it_with_a_signal_of_the_kernel_leaves_the_container(box):
    inside = box()
    with subprocess.Popen(inside.command("cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        started.stdin.write(b"x")
        started.stdin.flush()
        assert started.stdout.read(1) == b"x"
        started.kill()
        started.stdin.close()
    assert inside.said("echo alive") == "alive"


def test_the_end_of_the_container_ends_it(box):
    inside = box()
    with subprocess.Popen(
        inside.command("sh", "-c", "echo ready; exec sleep 1000"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as started:
        started.stdout.readline()
        inside.runtime("delete", "--force", inside.id)
        assert started.wait(TIMEOUT) == 128 + signal.SIGKILL


# ---- Standard streams and terminals ----


def test_stdin_is_the_callers(box):
    done = subprocess.run(box().command("cat"), input=b"x" * 300_000, capture_output=True, timeout=TIMEOUT, check=True)
    assert done.stdout == b"x" * 300_000


def test_stdout_and_stderr_are_apart(box):
    done = box()("sh", "-c", "echo one; echo two >&2")
    assert (done.stdout, done.stderr) == ("one\n", "two\n")


def test_a_session_at_a_terminal(box):
    converse(box().command("sh", "-c", CONVERSATION, options=["--tty"]))


@pytest.mark.parametrize("change", [lambda config: None, mapped()], ids=["plain", "user namespace"])
def test_the_terminal_goes_to_the_console_socket(box, tmp_path, change):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        # Whether exec itself waits for the process makes no difference to the terminal.
        options = ["--tty", "--console-socket", tmp_path / "console", "--user", "1000:1000"]
        command = box(change).command("sh", "-c", "tty; ls -ln /dev/pts/0; read line", options=options)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL):
            master = take_terminal(listener)
            try:
                assert re.search(rb"^/dev/pts/0\r\nc\S+ +1 1000 +5 ", read_until(master, b" /dev/pts/0\r\n"))
            finally:
                os.close(master)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tty", "--detach"], "--console-socket"),
        (["--tty", "--detach", "--console-socket", "/no/such/socket"], "/no/such/socket"),
    ],
)
def test_a_terminal_needs_somebody_who_takes_it(box, options, said):
    assert said in box().refused("true", options=options)


def test_a_console_socket_that_closes_early_is_an_error_and_leaves_nothing(box, tmp_path):
    """In a paused container the process is frozen from its first moment until the socket is closed."""
    inside = box()
    inside.runtime("pause", inside.id)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        options = ["--ignore-paused", "--tty", "--detach", "--console-socket", tmp_path / "console"]
        command = inside.command("sleep", "4711", options=options)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as started:
            listener.accept()[0].close()
            inside.runtime("resume", inside.id)
            said = started.stderr.read()
    assert started.returncode == FAILED
    assert "cannot send the terminal over the console socket" in said
    assert "EPIPE" in said or "ECONNRESET" in said
    assert json.loads(inside.runtime("ps", "-f", "json", inside.id).stdout) == [inside.pid]


# ---- The process: options, the pattern, process.json ----


def test_the_containers_own_process_is_the_pattern(box):
    inside = box(
        process(cwd="/tmp", env=["PATH=/bin", "COLOUR=blue", "HOME=/x"], user={"uid": 7, "gid": 8, "umask": 5})
    )
    assert inside.said("pwd; echo $COLOUR; id -u; id -g; umask").split() == ["/tmp", "blue", "7", "8", "0005"]


def test_the_resource_limits_of_the_pattern_hold(box):
    limits = [{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 400}, {"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]
    lines = box(process(rlimits=limits)).said("cat /proc/self/limits").splitlines()
    found = {line[:25].strip(): line[25:].split()[:2] for line in lines}
    assert found["Max open files"] == ["300", "400"]
    assert found["Max core file size"] == ["1", "2"]


def test_a_process_leads_a_session_of_its_own(box):
    # Of the process itself: pid, process group, session (proc(5)); a session of the host would be 0 in here.
    pid, group, session = (
        box().said("read -r pid _ _ _ group session _ < /proc/self/stat; echo $pid $group $session").split()
    )
    assert pid == group == session


def test_the_standard_streams_belong_to_the_user(box):
    with box(process(user={"uid": 7, "gid": 8})).going() as pid:
        assert [os.stat(f"/proc/{pid}/fd/{stream}").st_uid for stream in (0, 1)] == [7, 7]


def test_the_options_change_the_pattern(box):
    inside = box(process(env=["PATH=/bin", "A=1", "B=1"], user={"uid": 0, "gid": 0, "additionalGids": [4]}))
    options = ["--cwd", "/tmp", "--env", "B=2", "-e", "C=x y=z", "--user", "7:8", "--additional-gids", "5", "-g", "6"]
    done = inside("sh", "-c", 'pwd; echo "$A,$B,$C"; id -u; id -G', options=options)
    assert done.stdout.splitlines() == ["/tmp", "1,2,x y=z", "7", "8 4 5 6"]


def test_the_groups_of_the_caller_stay_outside(box):
    assert box()("id", "-G", extra_groups=[4242]).stdout.split() == ["0"]


def test_the_program_is_executed_with_the_effective_set(box, tmp_path):
    inside = box(own=True)
    place = inside.path / "rootfs/home/closed"
    place.mkdir(mode=0o700)
    os.chown(place, 5, 5)
    shutil.copy(inside.path / "rootfs/bin/busybox", place)
    names = ["CAP_DAC_OVERRIDE"]
    some = {"bounding": names, "permitted": names}
    args = ["/home/closed/busybox", "echo", "found"]
    with_it = process_file(tmp_path, args=args, capabilities={**some, "effective": names})
    assert inside(options=["--process", with_it]).stdout == "found\n"
    assert "/home/closed/busybox" in inside.refused(
        options=["--process", process_file(tmp_path, args=args, capabilities=some)]
    )


def test_the_bounding_set_is_the_pattern_s(box):
    found = box().said("grep CapBnd /proc/self/status | cut -f2")
    assert int(found, 16) == 1 << 5 | 1 << 10 | 1 << 29  # KILL, NET_BIND_SERVICE, AUDIT_WRITE


def test_the_group_stays_when_only_the_user_is_named(box):
    assert box(process(user={"uid": 1, "gid": 9})).said("id -u; id -g", "--user", "7").split() == ["7", "9"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--user", "root"], "--user"),
        (["--user", "7:"], "--user"),
        (["--user", "4294967295"], "--user"),
        (["--additional-gids", "-5"], "--additional-gids"),
        (["--cwd", "relative"], "cwd"),
        (["--cwd", "/no/such/place"], "/no/such/place"),
        (["--env", "NOTHING"], "NOTHING"),
        (["--cgroup", "/no/such/group"], "/no/such/group"),
        (["--cgroup", "../.."], "not below"),
        (["--preserve-fds", "1"], "descriptor 3"),
        (["--process", "/no/such/file"], "/no/such/file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_cannot_be_fulfilled_is_an_error(box, options, said):
    words = () if "--process" in options else ("true",)
    assert said in box().refused(*words, options=options)


def test_the_working_directory_is_not_made(box):
    """As with runc: exec uses what is there."""
    inside = box(lambda config: config["root"].update(readonly=False), own=True)
    inside.refused("true", options=["--cwd", "/new"])
    assert not (inside.path / "rootfs/new").exists()


def test_a_working_directory_that_nobody_may_enter_is_an_error(box):
    inside = box(mapped(), own=True)
    (inside.path / "rootfs/home/closed").mkdir(mode=0o700)
    for user in ("0:0", "1000:1000"):
        assert "/home/closed" in inside.refused("true", options=["--cwd", "/home/closed", "--user", user])


def test_a_working_directory_that_the_user_may_enter_and_root_may_not(box):
    inside = box(mapped(), own=True)
    place = inside.path / "rootfs/home/own"
    place.mkdir(mode=0o700)
    os.chown(place, 101000, 0)  # a group that is not mapped takes root's rights away
    assert inside.said("pwd", "--cwd", "/home/own", "--user", "1000:1000") == "/home/own"


def test_no_link_of_procfs_leads_the_working_directory_outside(box):
    def change(config):
        config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "pid"]

    said = box(change).refused("true", options=["--cwd", f"/proc/{os.getpid()}/root"])
    assert "it is outside of the container" in said


def test_without_a_mount_namespace_the_root_is_the_containers(box):
    def change(config):
        config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "mount"]
        for name in ("maskedPaths", "readonlyPaths"):
            config["linux"].pop(name, None)
        config["root"]["readonly"] = False

    inside = box(change, own=True)
    (inside.path / "rootfs/here").touch()
    assert "here" in inside.said("ls /").split()
    assert inside("pwd", options=["--tty"]).stdout.split() == ["/"]


def test_capabilities_are_added_and_not_inherited_by_the_next_exec(box):
    inside = box()
    script = "grep -E 'Cap(Bnd|Eff|Prm|Inh|Amb)' /proc/self/status | cut -f2"
    before = [int(line, 16) for line in inside.said(script).split()]
    with_one = [int(line, 16) for line in inside.said(script, "--cap", "CAP_NET_ADMIN", "-c", "CAP_CHOWN").split()]
    added = 1 << 12 | 1
    # In the order of the file: inheritable, permitted, effective, bounding, ambient.
    assert with_one == [before[0], *(value | added for value in before[1:4]), before[4]]
    assert [int(line, 16) for line in inside.said(script).split()] == before


def test_a_capability_that_is_none_is_a_warning(box):
    done = box()("true", options=["--cap", "CAP_FLY"])
    assert "CAP_FLY" in done.stderr


@pytest.mark.parametrize("configured", [False, True])
def test_no_new_privs_is_only_ever_switched_on(box, configured):
    inside = box(process(noNewPrivileges=configured))
    script = "grep NoNewPrivs /proc/self/status | cut -f2"
    assert inside.said(script) == str(int(configured))
    assert inside.said(script, "--no-new-privs") == "1"


def test_the_process_of_a_file(box, tmp_path):
    """Everything comes from the file, and nothing from the container's own process."""
    file = process_file(
        tmp_path,
        args=["sh", "-c", "id -u; id -g; id -G; pwd; umask; echo $A$COLOUR; ulimit -n; cat /proc/self/oom_score_adj"],
        env=["PATH=/bin", "A=1"],
        cwd="/tmp",
        user={"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o77},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 333, "hard": 444}],
        oomScoreAdj=123,
    )
    inside = box(process(env=["PATH=/bin", "COLOUR=blue"]))
    found = inside(options=["--process", file]).stdout.split()
    assert found == ["7", "8", "8", "9", "/tmp", "0077", "1", "333", "123"]


def test_the_sets_of_capabilities_of_a_file(box, tmp_path):
    names = ["CAP_CHOWN", "CAP_SYS_ADMIN"]
    sets = dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), names)
    file = process_file(
        tmp_path, args=["grep", "Cap", "/proc/self/status"], capabilities=sets, user={"uid": 5, "gid": 5}
    )
    lines = box()(options=["--process", file]).stdout.split()[1::2]
    assert {int(line, 16) for line in lines} == {1 | 1 << 21}


def test_the_terminal_of_a_file(box, tmp_path):
    file = process_file(tmp_path, args=["stty", "size"], terminal=True, consoleSize={"height": 12, "width": 34})
    assert box()(options=["--process", file]).stdout == "12 34\n"  # no carriage return in a pipe


@pytest.mark.parametrize("affinity", [{"initial": "0"}, {"final": "0"}, {"initial": "0-1", "final": "0"}])
def test_the_cpus_of_a_file(box, tmp_path, affinity):
    file = process_file(tmp_path, args=["grep", "Cpus_allowed_list", "/proc/self/status"], execCPUAffinity=affinity)
    found = box()(options=["--process", file]).stdout.split()[-1]
    # A cpuset of the container's gives the CPUs anew when the process joins it.
    assert found == "0" or "final" not in affinity


@pytest.mark.parametrize("kind", ["initial", "final"])
def test_a_cpu_that_is_not_there_is_an_error(box, tmp_path, kind):
    file = process_file(tmp_path, execCPUAffinity={kind: "8191"})
    assert f"{file}: /execCPUAffinity/{kind}" in box().refused(options=["--process", file])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "process.json"),
        ('{"cwd": "/", "args": "true"}', "/args"),
        ('{"args": ["true"]}', "cwd"),
        ('{"cwd": "/", "args": []}', "/args"),
        ('{"cwd": "/", "args": ["true"], "user": {"uid": -1, "gid": 0}}', "/user/uid"),
        ('{"cwd": "/", "args": ["true"], "rlimits": [{"type": "RLIMIT_SOUL", "soft": 1, "hard": 1}]}', "/rlimits/0"),
    ],
)
def test_a_file_that_is_not_a_process_is_an_error(box, tmp_path, content, said):
    (tmp_path / "process.json").write_text(content)
    assert said in box().refused(options=["--process", tmp_path / "process.json"])


def test_more_than_the_containers_own_bounds_can_be_asked_for(box, tmp_path):
    """As with runc: the host's caller decides about exec, so the container's limits do not bind it."""
    limit = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}]
    inside = box(process(capabilities={}, rlimits=limit))
    names = ["CAP_NET_RAW"]
    file = process_file(
        tmp_path,
        args=["sh", "-c", "ulimit -n; grep CapEff /proc/self/status"],
        capabilities={"bounding": names, "effective": names, "permitted": names},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}],
    )
    assert inside(options=["--process", file]).stdout.split() == ["99", "CapEff:", f"{1 << 13:016x}"]


def test_a_command_and_a_file_together_are_an_error(box, tmp_path):
    box().refused("true", options=["--process", process_file(tmp_path)])


@pytest.mark.parametrize("field", ["--apparmor", "--process-label"])
def test_a_label_that_the_host_cannot_apply_is_an_error(box, field):
    if Path("/sys/kernel/security/apparmor").exists() or Path("/sys/fs/selinux/enforce").exists():
        field = "--apparmor"  # a profile that is not loaded
    assert "no-such-label" in box().refused("true", options=[field, "no-such-label"])


def test_options_after_the_command_are_the_commands(box):
    assert box()("echo", "--cwd", "/x", "-t", "--").stdout == "--cwd /x -t --\n"


def test_detached_it_returns_at_once_and_the_process_goes_on(box):
    inside = box()
    pid = inside.detached("sleep", "4711")
    # It is empty while the kernel executes the program.
    assert until(Path(f"/proc/{pid}/cmdline").read_bytes, "the program") == b"sleep\x004711\0"
    assert "sleep 4711" in inside.said("ps")


def test_the_pid_file_has_the_hosts_pid(box):
    with box().going() as pid:
        assert Path(f"/proc/{pid}/comm").read_text() == "cat\n"


def test_a_pid_file_that_cannot_be_written_is_an_error_and_nothing_runs(box):
    inside = box()
    inside.refused("sleep", "4711", options=["--pid-file", "/no/such/place/pid", "--detach"])
    assert "4711" not in inside.said("ps")


def test_the_pidfd_socket_gets_a_pidfd(box, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pidfd"))
        listener.listen()
        with box().going(["--pidfd-socket", tmp_path / "pidfd"]) as pid:
            pidfd = take_terminal(listener)
            assert f"\nPid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
            os.close(pidfd)


def test_preserved_descriptors_and_no_others_reach_the_program(box, tmp_path):
    (tmp_path / "file").write_text("preserved")
    command = ["sh", "-c", 'exec "$@" 3<"$0" 4<"$0" 9<"$0"', str(tmp_path / "file")]
    command += box().command("sh", "-c", "cat <&3; ls -l /proc/self/fd", options=["--preserve-fds", "1"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stdout.startswith("preserved")
    # The directory that ls itself reads is gone when it asks for its name.
    assert [line.split()[8] for line in done.stdout.splitlines() if " -> " in line] == ["0", "1", "2", "3"]


# ---- HOME ----


def test_home_is_that_of_the_user(box):
    """As with runc and crun: if the caller sets no HOME, it is taken from the container's /etc/passwd."""
    inside = box(process(env=["PATH=/bin"]))
    assert inside.said("echo $HOME") == "/root"
    assert inside.said("echo $HOME", "--user", "65534:65534") == "/home"
    assert inside.said("echo $HOME", "--user", "4242") == "/"
    assert inside.said("echo $HOME", "--env", "HOME=") == "/root"
    assert inside.said("echo $HOME", "--env", "HOME=/mine") == "/mine"


# ---- What is joined ----


def same_place(inside, pid):
    """The process `pid` has the namespaces, the root and the cgroups of the container's first process."""
    first = inside.pid
    for kind in KINDS:
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{first}/ns/{kind}"), kind
    assert os.path.samestat(os.stat(f"/proc/{pid}/root/."), os.stat(f"/proc/{first}/root/."))
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path(f"/proc/{first}/cgroup").read_text()


def nothing_new(config):
    """No namespace of its own: only another root."""
    config["linux"]["namespaces"] = []
    config["mounts"] = []
    for name in ("maskedPaths", "readonlyPaths"):
        config["linux"].pop(name, None)
    config.pop("hostname", None)
    config["root"]["readonly"] = False


PLACES = {
    "the default namespaces": lambda config: None,
    "no namespace": nothing_new,
    "only a pid namespace": lambda config: (nothing_new(config), namespaces(pid=None)(config)),
    "a user namespace": mapped(),
    "a cgroup namespace": namespaces(cgroup=None),
    "the host's cgroup namespace": lambda config: (
        config["linux"]["namespaces"].remove({"type": "cgroup"})
        if {"type": "cgroup"} in config["linux"]["namespaces"]
        else None
    ),
    "a time namespace": lambda config: (
        namespaces(time=None)(config),
        linux(timeOffsets={"boottime": {"secs": 1000000, "nanosecs": 0}})(config),
    ),
    "all namespaces": lambda config: (mapped()(config), namespaces(time=None, cgroup=None)(config)),
}


@pytest.mark.parametrize("create", [False, True], ids=["running", "created"])
@pytest.mark.parametrize("kind", PLACES)
def test_it_is_where_the_container_is(box, kind, create):
    inside = box(PLACES[kind], own=kind.startswith(("no", "only")), create=create)
    with inside.going() as pid:
        same_place(inside, pid)


def test_it_joins_what_the_container_joined_by_path(box):
    holder = box(namespaces(time=None, cgroup=None))
    joined = {
        kind: f"/proc/{holder.pid}/ns/{file}" for kind, file in {"network": "net", "ipc": "ipc", "uts": "uts"}.items()
    }
    joined |= {"pid": f"/proc/{holder.pid}/ns/pid", "time": f"/proc/{holder.pid}/ns/time"}
    inside = box(lambda config: config.pop("hostname"), namespaces(**joined))
    with inside.going() as pid:
        same_place(inside, pid)
    # Before its pid namespace ends.
    inside.runtime("delete", "--force", inside.id)


def test_it_joins_a_user_namespace_that_the_container_joined_by_path(box):
    holder = box(mapped())
    path = f"/proc/{holder.pid}/ns/user"
    inside = box(namespaces(user=path))
    with inside.going() as pid:
        same_place(inside, pid)
    assert inside.said("id -u") == "0"


def test_it_is_another_process_in_the_same_pid_namespace(box):
    inside = box()
    assert int(inside.said("echo $$")) > 1
    assert inside.said("readlink /proc/1/ns/pid") == inside.said("readlink /proc/self/ns/pid")


def test_the_clocks_are_those_of_the_container(box):
    inside = box(PLACES["a time namespace"])
    assert float(inside.said("cat /proc/uptime").split()[0]) > 1000000


def test_it_has_what_the_container_had_at_create_whatever_became_of_the_bundle(box):
    inside = box()
    (inside.path / "config.json").write_text("{")
    assert inside.said("id -u") == "0"
    (inside.path / "config.json").unlink()
    assert inside.said("id -u") == "0"


def test_it_has_the_limits_that_an_update_has_set(box):
    inside = box()
    inside.runtime("update", "--pids-limit", "3", inside.id)
    assert inside.said("echo here") == "here"
    assert inside("sh", "-c", "(true; true) | (true; true) | (true; true); echo $?", check=False).stdout != "0\n"


@pytest.mark.parametrize("options", [[], ["--user", "5:5"], ["--tty"]], ids=["root", "another user", "a terminal"])
def test_one_process_more_is_what_a_limit_has_to_allow(box, options):
    """The intermediate process is one too, and is not there any more when the limit is full."""
    inside = box()
    inside.runtime("update", "--pids-limit", "2", inside.id)
    assert inside("echo", "here", options=options).stdout.strip() == "here"
    inside.runtime("update", "--pids-limit", "1", inside.id)
    done = inside("echo", "here", options=options, check=False)
    assert (done.returncode, done.stdout) == (255, "")
    assert "its limit is 1" in done.stderr or "EAGAIN" in done.stderr


def test_it_can_be_put_into_a_cgroup_below_the_containers(box):
    inside = box()
    pids = group_below(inside.pid, "pids") if Path("/sys/fs/cgroup/pids").is_dir() else None
    controller, base = (
        ("pids", f"/sys/fs/cgroup/pids{pids}") if pids else ("", f"/sys/fs/cgroup{group_below(inside.pid, '')}")
    )
    Path(base, "below").mkdir()
    with inside.going(["--cgroup", f"{controller}:below" if controller else "below"]) as pid:
        assert group_below(pid, controller) == group_below(inside.pid, controller) + "/below"
        if controller:
            assert group_below(pid, "memory") == group_below(inside.pid, "memory")


# ---- Filters ----


def filtered(config, no_new_privileges):
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    config["process"]["noNewPrivileges"] = no_new_privileges


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("user", ["0", "1000:1000"])
def test_the_filter_of_the_container_is_the_processes_too(box, no_new_privileges, user):
    inside = box(lambda config: filtered(config, no_new_privileges))
    done = inside("sh", "-c", "mkdir /dev/shm/x; grep Seccomp: /proc/self/status", options=["--user", user])
    assert done.stdout.split() == ["Seccomp:", "2"]
    assert "No space left" in done.stderr


def told(listener):
    """Return the container process state that comes next; its descriptor is closed."""
    connection, _ = listener.accept()
    with connection:
        text, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4))
    os.close(struct.unpack("i", control[0][2])[0])
    return json.loads(text)


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.clause("config-linux.md#seccomp/listener-closed", "config-linux.md#the-container-process-state/pid")
def test_the_agent_learns_of_the_process_and_of_the_container(box, tmp_path, no_new_privileges):
    def change(config):
        filtered(config, no_new_privileges)
        config["linux"]["seccomp"].update(
            listenerPath=str(tmp_path / "agent"),
            listenerMetadata="for you",
            syscalls=[{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        )
        config["annotations"] = {"key": "value"}

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        listener.settimeout(TIMEOUT)
        inside = box(change)
        assert told(listener)["pid"] == inside.pid
        with inside.going() as pid:
            state = told(listener)
    before = json.loads(inside.runtime("state", inside.id).stdout)
    assert state == {
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "for you",
        "state": {name: before[name] for name in ("ociVersion", "id", "status", "pid", "bundle", "annotations")},
    }


# ---- When ----


def test_exec_into_a_container_that_waits_for_start(box):
    inside = box(create=True)
    assert inside.said("id -u") == "0"
    assert json.loads(inside.runtime("state", inside.id).stdout)["status"] == "created"
    inside.runtime("start", inside.id)


def test_exec_into_a_stopped_container_is_refused(box):
    inside = box(process(args=["true"]), create=True)
    inside.runtime("start", inside.id)
    # Read once: the process may end between two reads, and even before the next line.
    pid = inside.pid
    try:
        pidfd = os.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        pidfd = -1
    if pidfd >= 0:
        select.select([pidfd], [], [], TIMEOUT)
        os.close(pidfd)
    assert "it is stopped" in inside.refused("true")


def test_exec_into_a_paused_container_is_refused_unless_asked_for(box):
    inside = box()
    inside.runtime("pause", inside.id)
    assert "--ignore-paused" in inside.refused("true")
    with subprocess.Popen(
        inside.command("sh", "-c", "exit 6", options=["--ignore-paused"]), stdin=subprocess.DEVNULL
    ) as started:
        # It waits in the container's freezer; that it is there can only be looked for.
        while len(inside.runtime("ps", "--format", "json", inside.id).stdout.split(",")) < 2:
            assert started.poll() is None
        inside.runtime("resume", inside.id)
        assert started.wait(TIMEOUT) == 6


# ---- An ordinary user ----


@pytest.fixture
def ordinary(runtime, rootfs, session, ordinary_python):
    """What an ordinary user needs: a directory that it can reach and own, and the program run as that user."""
    uid = 54321
    place = Path(tempfile.mkdtemp(prefix=f"{session}-"))
    os.chmod(place, 0o755)
    shutil.copytree(rootfs, place / "bundle/rootfs", symlinks=True)
    for path in [place, *place.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)
    runtime.root = place / "run"
    as_user = {"user": uid, "group": uid, "extra_groups": [], "cwd": place}
    runtime.program = bundles.copy_program(runtime.program, place / "program")
    yield runtime, place, as_user
    runtime.clean()
    shutil.rmtree(place)


def created(runtime, place, as_user):
    """Create a container of the ordinary user, whose process sleeps; return its id and its configuration."""
    runtime("spec", "--rootless", "-b", place / "bundle", **as_user)
    config = json.loads((place / "bundle/config.json").read_text())
    config["process"].update(terminal=False, args=["sleep", "1000"])
    (place / "bundle/config.json").write_text(json.dumps(config))
    container = runtime.id()
    runtime("create", "-b", place / "bundle", container, **as_user)
    return container, config


def test_an_ordinary_user_execs_in_its_own_container(ordinary):
    runtime, place, as_user = ordinary
    container, config = created(*ordinary)
    inside = Box(runtime, place / "bundle", container)
    assert "start it first" in inside("true", check=False, **as_user).stderr
    runtime("start", container, **as_user)
    assert inside("sh", "-c", "id -u; hostname", **as_user).stdout.split() == ["0", config["hostname"]]
    with inside.going(**as_user) as pid:
        same_place(inside, pid)
    assert inside("tty", options=["--tty"], **as_user).stdout.strip() == "/dev/pts/0"
    runtime("delete", "--force", container, **as_user)


@pytest.mark.clause("runtime.md#delete/resources-deleted")
def test_delete_ends_a_process_that_is_in_no_cgroup_of_its_own(ordinary):
    runtime, _, as_user = ordinary
    container, _ = created(*ordinary)
    state = json.loads((runtime.root / container / "state.json").read_text())
    assert not state["cgroup"].get("paths")
    runtime("start", container, **as_user)
    runtime("delete", "--force", container, **as_user)
    assert not processes.alive(state["pid"], state["start_time"])


# ---- Many ----


def descriptors_and_groups(inside):
    groups = sorted(path for path, _, _ in os.walk("/sys/fs/cgroup") if inside.id in path)
    return len(os.listdir(f"/proc/{inside.pid}/fd")), groups, sorted(os.listdir(inside.runtime.root / inside.id))


def test_many_at_once_and_one_after_the_other_leave_nothing(box):
    inside = box()
    before = descriptors_and_groups(inside)

    def run(number):
        command = inside.command("sh", "-c", f"echo {number}; exit {number}")
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(8) as pool:
        for number, result in enumerate(pool.map(run, range(96))):
            assert result == (number, f"{number}\n", "")
    assert descriptors_and_groups(inside) == before
    assert json.loads(inside.runtime("ps", "--format", "json", inside.id).stdout) == [inside.pid]
