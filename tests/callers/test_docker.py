"""Docker Engine with pyruntime added to it, and as its default runtime: `docker run` and what its flags ask for."""

import json
import os
import subprocess

import pytest
from calling import limit, lives, remove_parent_cgroup, until

UNCONFINED = ("--security-opt", "seccomp=unconfined")


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


@pytest.fixture
def shared(tmp_path):
    """A directory that is a shared mount."""
    place = tmp_path / "shared"
    place.mkdir()
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "--make-shared", place], check=True)
    yield place
    while subprocess.run(["umount", "--recursive", place], check=False, capture_output=True).returncode == 0:
        pass


@pytest.mark.parametrize(
    ("option", "fields"),
    [("rprivate", []), ("rslave", ["master"]), ("rshared", ["shared"])],
    ids=str,
)
def test_the_propagation_of_a_volume(docker, shared, option, fields):
    volume = ["--volume", f"{shared}:/shared:{option}"]
    done = docker("run", "--rm", *volume, "box", "grep", " /shared ", "/proc/self/mountinfo")
    optional = done.stdout.split()[6 : done.stdout.split().index("-")]
    assert [field.partition(":")[0] for field in optional] == fields


def test_what_a_privileged_container_mounts_in_a_shared_volume_is_there_on_the_host(docker, shared):
    volume = ["--volume", f"{shared}:/shared:rshared"]
    docker(
        "run",
        "--rm",
        "--privileged",
        *volume,
        "box",
        "sh",
        "-c",
        "mkdir /shared/made; mount -t tmpfs none /shared/made",
    )
    assert os.path.ismount(shared / "made")


def test_limits(docker):
    docker("run", "--detach", "--name", "limited", *_LIMITS, "box", "sleep", "1000")
    pid = docker.pid("limited")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(pid, "pids", "pids.max", "pids.max") == "33"


_LIMITS = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "33")


def test_a_container_that_takes_too_much_memory_is_killed_and_says_so(docker):
    # Not before its shim watches.
    script = "until test -e /go; do sleep 0.05; done; x=a; while :; do x=$x$x; done"
    docker("run", "--detach", "--name", "greedy", "--memory", "8m", "--memory-swap", "8m", "box", "sh", "-c", script)
    docker("exec", "greedy", "touch", "/go")
    assert docker("wait", "greedy").stdout == "137\n"
    assert docker.inspect("greedy", "{{.State.OOMKilled}}") == "true"


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


def test_added_capabilities(docker):
    flags = ["--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "--cap-drop", "MKNOD"]
    done = docker("run", "--rm", *flags, "box", "grep", "CapEff", "/proc/self/status")
    chown, net_admin, mknod = 1 << 0, 1 << 12, 1 << 27
    assert int(done.stdout.split()[1], 16) == 0xA80425FB & ~chown & ~mknod | net_admin


def test_no_new_privileges(docker):
    flags = ["--security-opt", "no-new-privileges", "--user", "65534"]
    done = docker("run", "--rm", *flags, "box", "grep", "-E", "^(NoNewPrivs|CapEff):", "/proc/self/status")
    assert done.stdout.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


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


def test_namespaces_of_the_host(docker):
    kinds = {"net": "--network", "ipc": "--ipc", "pid": "--pid", "uts": "--uts"}
    flags = [word for flag in kinds.values() for word in (flag, "host")]
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    done = docker("container", "run", "--rm", *flags, "box", "sh", "-c", script)
    assert done.stdout.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]


@pytest.mark.parametrize("kind", ["private", "none", "shareable"])
def test_an_ipc_namespace_of_its_own(docker, kind):
    done = docker("run", "--rm", "--ipc", kind, "box", "readlink", "/proc/self/ns/ipc")
    assert done.stdout.strip() not in ("", os.readlink("/proc/self/ns/ipc"))


def test_the_cgroup_parent_and_a_cgroup_namespace(docker, session):
    script = ["cat", "/proc/self/cgroup"]
    done = docker("run", "--rm", "--cgroup-parent", f"/{session}-docker/below", "box", *script)
    assert f":/{session}-docker/below/" in done.stdout
    remove_parent_cgroup(f"{session}-docker/below")
    done = docker("run", "--rm", "--cgroupns", "private", "box", *script)
    assert {line.split(":", 2)[2] for line in done.stdout.splitlines()} == {"/"}


def test_namespaces_of_another_container(docker):
    docker("run", "--detach", "--name", "first", "--ipc", "shareable", "box", "sleep", "1000")
    others = ["--pid", "container:first", "--ipc", "container:first"]
    # `container run`, because the fixture gives `run` a network.
    done = docker("container", "run", "--rm", "--network", "container:first", *others, "box", "ps")
    assert "sleep 1000" in done.stdout


def test_what_runs_in_the_hosts_pid_namespace_ends_with_the_container(docker, tmp_path):
    """Docker then asks for `kill --all` when the first process has ended.

    The shim of containerd 1.7 does not if that is before `start` has returned, neither with runc: so it ends later.
    """
    script = "sleep 1000 & echo $!; until [ -e /go/on ]; do sleep 0.01; done"
    options = ("--detach", "--rm", "--pid", "host", "--volume", f"{tmp_path}:/go")
    container = docker("run", *options, "box", "sh", "-c", script).stdout.strip()
    pid = int(until(lambda: docker("logs", container).stdout, "the pid of the process left behind"))
    (tmp_path / "on").touch()
    until(lambda: not lives(pid, "sleep"), "the process left behind to end")
    until(lambda: not docker("ps", "--all", "--quiet").stdout, "the container to be removed")


# ---- Terminal and streams ----


def test_a_terminal(docker):
    done = docker("run", "--rm", "--tty", "box", "sh", "-c", "tty; exit 5", status=5, terminal=True)
    assert "/dev/pts/0" in done.stdout


def test_a_terminal_that_is_spoken_to(docker):
    done = docker("run", "--rm", "-it", "box", "sh", terminal=True, input="echo $((6 * 7)); exit 5\n", status=5)
    assert "42" in done.stdout


def test_standard_input(docker):
    done = docker("run", "--rm", "--interactive", "box", "cat", input="through the pipe\n")
    assert done.stdout == "through the pipe\n"


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
