"""Docker Engine: pyruntime as a runtime added to dockerd, and as its default."""

import json

import pytest
from calling import limit, until

UNCONFINED = ("--security-opt", "seccomp=unconfined")


def pid_of(docker, name) -> int:
    return int(docker("inspect", "--format", "{{.State.Pid}}", name).stdout)


def state_of(docker, name) -> "tuple[str, int]":
    status, code = docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name).stdout.split()
    return status, int(code)


def ended(docker, name):
    until(lambda: state_of(docker, name)[0] == "exited", f"{name} to end")


@pytest.mark.parametrize("options", [(), UNCONFINED], ids=["default profile", "unconfined"])
def test_run_prints_what_the_container_says(docker, options):
    done = docker("run", "--rm", "--runtime", "pyruntime", *options, "box", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_run_returns_the_exit_status(docker):
    docker("run", "--rm", "box", "sh", "-c", "exit 42", status=42)


def test_docker_knows_the_runtime(docker):
    information = json.loads(docker("info", "--format", "{{json .}}").stdout)
    assert information["DefaultRuntime"] == "pyruntime"
    assert "pyruntime" in information["Runtimes"]


# ---- What cannot be run ----


@pytest.mark.parametrize(
    ("command", "status"),
    [("/not/there", 127), ("not-in-path", 127), ("/etc/passwd", 126), ("/etc", 126)],
)
def test_a_program_that_cannot_be_executed_has_the_status_that_shells_give_it(docker, command, status):
    done = docker("run", "--rm", "box", command, status=status)
    assert command in done.stderr


def test_a_program_that_the_kernel_does_not_execute(docker, tmp_path):
    """It shows only at start, when Docker has a container that it has to be rid of again."""
    (tmp_path / "nonsense").write_text("\0nonsense")
    (tmp_path / "nonsense").chmod(0o755)
    done = docker("run", "--rm", "--volume", f"{tmp_path}:/in", "box", "/in/nonsense", status=None)
    assert done.returncode >= 125
    assert "exec format error" in done.stderr.lower()


def test_a_directory_mounted_on_a_file_is_explained(docker, tmp_path):
    done = docker("run", "--rm", "--volume", f"{tmp_path}:/etc/passwd", "box", "true", status=125)
    assert "/mounts/" in done.stderr
    assert "Are you trying to mount a directory onto a file" in done.stderr


def test_a_value_that_the_kernel_refuses_is_named(docker):
    done = docker("run", "--rm", "--sysctl", "net.ipv4.ip_forward=maybe", "box", "true", status=125)
    assert "/linux/sysctl/net.ipv4.ip_forward" in done.stderr


# ---- What the flags ask for ----


def test_the_process_is_what_the_flags_say(docker):
    script = "id -u; id -g; pwd; echo $COLOUR; hostname; cat /proc/sys/kernel/domainname"
    flags = ["--user", "1000:1001", "--workdir", "/tmp", "--env", "COLOUR=blue"]
    names = ["--hostname", "box1", "--domainname", "example.org"]
    done = docker("run", "--rm", *flags, *names, "box", "sh", "-c", script)
    assert done.stdout.split() == ["1000", "1001", "/tmp", "blue", "box1", "example.org"]


def test_a_read_only_root_with_a_tmpfs(docker):
    script = "touch /made; touch /scratch/made && grep ' /scratch ' /proc/mounts"
    done = docker("run", "--rm", "--read-only", "--tmpfs", "/scratch:size=1m", "box", "sh", "-c", script)
    assert "/made: Read-only file system" in done.stderr
    assert "size=1024k" in done.stdout


def test_volumes(docker, tmp_path):
    script = "echo text > /rw/made; cat /ro/made; touch /ro/other"
    volumes = ["--volume", f"{tmp_path}:/rw", "--volume", f"{tmp_path}:/ro:ro"]
    done = docker("run", "--rm", *volumes, "box", "sh", "-c", script, status=1)
    assert done.stdout == "text\n"
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "made").read_text() == "text\n"


def test_limits(docker):
    docker("run", "--detach", "--name", "limited", *_LIMITS, "box", "sleep", "1000")
    pid = pid_of(docker, "limited")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(pid, "pids", "pids.max", "pids.max") == "33"


_LIMITS = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "33")


def test_the_pids_limit_holds(docker):
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait"
    done = docker("run", "--rm", "--pids-limit", "4", "box", "sh", "-c", script, status=2)
    assert "Resource temporarily unavailable" in done.stderr


def test_capabilities(docker):
    flags = ["--cap-drop", "ALL", "--cap-add", "CHOWN"]
    done = docker("run", "--rm", *flags, "box", "grep", "^Cap", "/proc/self/status")
    sets = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert {name: int(value, 16) for name, value in sets.items()} == {
        "CapInh": 0,
        "CapPrm": 1,
        "CapEff": 1,
        "CapBnd": 1,
        "CapAmb": 0,
    }


def test_ulimit(docker):
    done = docker(
        "run", "--rm", "--user", "1000", "--ulimit", "nofile=64:128", "box", "sh", "-c", "ulimit -n; ulimit -Hn"
    )
    assert done.stdout.split() == ["64", "128"]


def test_init(docker):
    done = docker("run", "--rm", "--init", "box", "cat", "/proc/1/cmdline")
    assert done.stdout.split("\0")[0].endswith("docker-init")


def test_a_device(docker):
    done = docker("run", "--rm", "--device", "/dev/null:/dev/nothing:r", "box", "stat", "-c", "%t,%T", "/dev/nothing")
    assert done.stdout == "1,3\n"


def test_sysctl_and_shared_memory(docker):
    flags = ["--sysctl", "kernel.shmmax=12345", "--shm-size", "1m"]
    done = docker("run", "--rm", *flags, "box", "sh", "-c", "cat /proc/sys/kernel/shmmax; df /dev/shm | tail -n 1")
    assert done.stdout.split()[:3] == ["12345", "shm", "1024"]


def test_privileged(docker):
    script = "mount -t tmpfs none /tmp && stat -c %t,%T /dev/full"
    done = docker("run", "--rm", "--privileged", "box", "sh", "-c", script)
    assert done.stdout == "1,7\n"


def test_namespaces_of_another_container(docker):
    docker("run", "--detach", "--name", "first", "--ipc", "shareable", "box", "sleep", "1000")
    others = ["--pid", "container:first", "--ipc", "container:first"]
    # `container run`, because the fixture gives `run` a network.
    done = docker("container", "run", "--rm", "--network", "container:first", *others, "box", "ps")
    assert "sleep 1000" in done.stdout


def test_what_runs_in_the_hosts_pid_namespace_ends_with_the_container(docker):
    """Docker then asks for `kill --all` when the first process has ended."""
    script = "sleep 1000 & echo $!"
    pid = int(docker("run", "--rm", "--pid", "host", "box", "sh", "-c", script).stdout)
    until(lambda: not _lives(pid), "the process left behind to end")


def _lives(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().startswith("sleep")
    except OSError:
        return False


# ---- Terminal and streams ----


def test_a_terminal(docker):
    done = docker("run", "--rm", "--tty", "box", "sh", "-c", "tty; exit 5", status=5, terminal=True)
    assert "/dev/pts/0" in done.stdout


def test_standard_input(docker):
    done = docker("run", "--rm", "--interactive", "box", "cat", input="through the pipe\n")
    assert done.stdout == "through the pipe\n"


# ---- docker exec ----


def test_exec(docker):
    docker("run", "--detach", "--name", "busy", "box", "sleep", "1000")
    flags = ["--user", "1000:1001", "--workdir", "/tmp", "--env", "COLOUR=blue"]
    done = docker("exec", *flags, "busy", "sh", "-c", "id -u; id -g; pwd; echo $COLOUR; exit 3", status=3)
    assert done.stdout.split() == ["1000", "1001", "/tmp", "blue"]
    assert "sleep 1000" in docker("exec", "busy", "ps").stdout


def test_exec_with_a_terminal_and_with_standard_input(docker):
    docker("run", "--detach", "--name", "busy", "box", "sleep", "1000")
    assert "/dev/pts/" in docker("exec", "--tty", "busy", "tty", terminal=True).stdout
    assert docker("exec", "--interactive", "busy", "cat", input="through the pipe\n").stdout == "through the pipe\n"


def test_exec_is_under_the_profile_of_the_container(docker):
    docker("run", "--detach", "--name", "busy", "box", "sleep", "1000")
    done = docker("exec", "busy", "grep", "-E", "^(Seccomp|CapEff):", "/proc/self/status")
    assert done.stdout.split() == ["CapEff:", "00000000a80425fb", "Seccomp:", "2"]


def test_a_health_check(docker):
    flags = ["--health-cmd", "test -e /healthy", "--health-interval", "1s", "--health-retries", "1"]
    docker("run", "--detach", "--name", "checked", *flags, "box", "sh", "-c", "touch /healthy; sleep 1000")
    health = ["inspect", "--format", "{{.State.Health.Status}}", "checked"]
    until(lambda: docker(*health).stdout == "healthy\n", "the container to be healthy")


# ---- In the background ----

_POLITE = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done'


def test_stop_lets_the_process_say_goodbye(docker):
    docker("run", "--detach", "--name", "polite", "box", "sh", "-c", _POLITE)
    until(lambda: docker("logs", "polite").stdout == "ready\n", "the container to be ready")
    assert state_of(docker, "polite") == ("running", 0)
    docker("stop", "polite")
    assert docker("logs", "polite").stdout == "ready\nbye\n"
    assert state_of(docker, "polite") == ("exited", 9)
    docker("rm", "polite")


def test_a_stopped_container_starts_again(docker):
    docker("run", "--detach", "--name", "again", "box", "sleep", "1000")
    docker("kill", "again")
    ended(docker, "again")
    assert state_of(docker, "again") == ("exited", 137)
    docker("start", "again")
    assert state_of(docker, "again") == ("running", 0)


def test_kill_sends_any_signal(docker):
    script = 'trap "exit 11" USR1; echo ready; while :; do sleep 0.05; done'
    docker("run", "--detach", "--name", "signalled", "box", "sh", "-c", script)
    until(lambda: docker("logs", "signalled").stdout == "ready\n", "the container to be ready")
    docker("kill", "--signal", "USR1", "signalled")
    assert docker("wait", "signalled").stdout == "11\n"


def test_a_container_is_restarted_as_its_policy_says(docker):
    docker("run", "--detach", "--name", "failing", "--restart", "on-failure:2", "box", "false")
    count = ["inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "failing"]
    until(lambda: docker(*count).stdout == "2 exited\n", "two restarts")


def test_stats_are_those_of_the_container(docker):
    docker("run", "--detach", "--name", "counted", "box", "sleep", "1000")
    # dockerd asks in turns of its own, and has nothing to say before the first.
    until(lambda: docker("stats", "--no-stream", "--format", "{{.PIDs}}", "counted").stdout == "1\n", "its one process")


def test_remove_by_force_ends_a_running_container(docker):
    docker("run", "--detach", "--name", "gone", "box", "sleep", "1000")
    pid = pid_of(docker, "gone")
    docker("rm", "--force", "gone")
    assert not _lives(pid)


# ---- Seccomp ----


def test_the_default_profile_is_in_force(docker):
    script = "grep Seccomp: /proc/1/status; unshare -U true"
    done = docker("run", "--rm", "box", "sh", "-c", script, status=1)
    assert done.stdout.split() == ["Seccomp:", "2"]
    assert "Operation not permitted" in done.stderr


def test_without_a_profile_nothing_is_filtered(docker):
    done = docker("run", "--rm", *UNCONFINED, "box", "sh", "-c", "grep Seccomp: /proc/1/status; unshare -U true")
    assert done.stdout.split() == ["Seccomp:", "0"]


def test_a_profile_of_ones_own(docker, tmp_path):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    options = ["--security-opt", f"seccomp={tmp_path}/profile.json"]
    done = docker("run", "--rm", *options, "box", "mkdir", "/made", status=1)
    assert "No space left on device" in done.stderr


# ---- docker build ----


def test_build_runs_its_commands_in_containers(docker, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN echo $$ > /made\nCMD cat /made\n")
    docker("build", "--network", "none", "--tag", "built", tmp_path)
    assert docker("run", "--rm", "built").stdout == "1\n"
    docker("rmi", "built")
