"""Podman as root: conmon starts and watches the containers, pyruntime makes them."""

import json

import pytest
from calling import IMAGE, limit, until


def state_of(podman, name) -> "tuple[str, int]":
    status, code = podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name).stdout.split()
    return status, int(code)


def pid_of(podman, name) -> int:
    return int(podman("inspect", "--format", "{{.State.Pid}}", name).stdout)


def test_run_prints_what_the_container_says(podman):
    done = podman("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_run_returns_the_exit_status(podman):
    podman("run", "--rm", IMAGE, "sh", "-c", "exit 42", status=42)


def test_podman_knows_the_runtime(podman):
    runtime = json.loads(podman("info", "--format", "json").stdout)["host"]["ociRuntime"]
    assert runtime["name"].endswith("/pyruntime")
    assert runtime["version"].startswith("pyruntime version ")


@pytest.mark.parametrize(
    ("command", "status"),
    [("/not/there", 127), ("not-in-path", 127), ("/etc/passwd", 126), ("/etc", 126)],
)
def test_a_program_that_cannot_be_executed_has_the_status_that_shells_give_it(podman, command, status):
    done = podman("run", "--rm", IMAGE, command, status=status)
    assert command in done.stderr


def test_a_program_that_the_kernel_does_not_execute(podman, tmp_path):
    """It shows only at start, when Podman has a container that it has to be rid of again."""
    (tmp_path / "nonsense").write_text("\0nonsense")
    (tmp_path / "nonsense").chmod(0o755)
    done = podman("run", "--rm", "--volume", f"{tmp_path}:/in", IMAGE, "/in/nonsense", status=None)
    assert done.returncode >= 125
    assert "exec format error" in done.stderr.lower()


def test_what_the_runtime_refuses_reaches_the_user_with_its_place(podman):
    done = podman("run", "--rm", "--sysctl", "net.ipv4.ip_forward=maybe", IMAGE, "true", status=None)
    assert done.returncode != 0
    assert "/linux/sysctl/net.ipv4.ip_forward" in done.stderr


def test_the_process_is_what_the_flags_say(podman):
    script = "id -u; id -g; pwd; echo $COLOUR; hostname"
    flags = ["--user", "1000:1001", "--workdir", "/tmp", "--env", "COLOUR=blue", "--hostname", "box1"]
    done = podman("run", "--rm", *flags, IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["1000", "1001", "/tmp", "blue", "box1"]


def test_a_read_only_root_with_a_tmpfs(podman):
    script = "touch /made; touch /scratch/made && grep ' /scratch ' /proc/mounts"
    done = podman("run", "--rm", "--read-only", "--tmpfs", "/scratch:size=1m", IMAGE, "sh", "-c", script)
    assert "/made: Read-only file system" in done.stderr
    assert "size=1024k" in done.stdout


def test_volumes(podman, tmp_path):
    script = "echo text > /rw/made; cat /ro/made; touch /ro/other"
    volumes = ["--volume", f"{tmp_path}:/rw", "--volume", f"{tmp_path}:/ro:ro"]
    done = podman("run", "--rm", *volumes, IMAGE, "sh", "-c", script, status=1)
    assert done.stdout == "text\n"
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "made").read_text() == "text\n"


def test_a_user_namespace(podman):
    maps = ["--uidmap", "0:100000:1000", "--gidmap", "0:200000:1000"]
    script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; touch /made && stat -c %u:%g /made"
    done = podman("run", "--rm", *maps, IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "100000", "1000", "0", "200000", "1000", "0:0"]


def test_limits(podman):
    flags = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "33"]
    podman("run", "--detach", "--name", "limited", *flags, IMAGE, "sleep", "1000")
    pid = pid_of(podman, "limited")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(pid, "pids", "pids.max", "pids.max") == "33"


def test_capabilities(podman):
    flags = ["--cap-drop", "ALL", "--cap-add", "CHOWN"]
    done = podman("run", "--rm", *flags, IMAGE, "grep", "CapEff", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) == 1


def test_privileged(podman):
    script = "mount -t tmpfs none /tmp && stat -c %t,%T /dev/full"
    done = podman("run", "--rm", "--privileged", IMAGE, "sh", "-c", script)
    assert done.stdout == "1,7\n"


def test_mounts_for_an_init_system(podman):
    """With --systemd Podman asks for cgroup mounts, the named hierarchy writable, and several tmpfs."""
    done = podman("run", "--rm", "--systemd", "always", IMAGE, "sh", "-c", "grep -c ' /run tmpfs ' /proc/mounts")
    assert done.stdout == "1\n"


def test_the_default_seccomp_profile_is_in_force(podman):
    done = podman("run", "--rm", IMAGE, "sh", "-c", "grep Seccomp: /proc/1/status; unshare -n true", status=1)
    assert done.stdout.split() == ["Seccomp:", "2"]
    assert "Operation not permitted" in done.stderr


def test_without_a_profile_nothing_is_filtered(podman):
    options = ["--security-opt", "seccomp=unconfined"]
    done = podman("run", "--rm", *options, IMAGE, "grep", "Seccomp:", "/proc/1/status")
    assert done.stdout.split() == ["Seccomp:", "0"]


def test_a_terminal(podman):
    done = podman("run", "--rm", "--tty", IMAGE, "sh", "-c", "tty; exit 5", status=5, terminal=True)
    assert "/dev/pts/0" in done.stdout


def test_standard_input(podman):
    done = podman("run", "--rm", "--interactive", IMAGE, "cat", input="through the pipe\n")
    assert done.stdout == "through the pipe\n"


def test_stop_lets_the_process_say_goodbye(podman):
    script = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
    podman("run", "--detach", "--name", "polite", IMAGE, "sh", "-c", script)
    until(lambda: podman("logs", "polite").stdout == "ready\n", "the container to be ready")
    assert state_of(podman, "polite") == ("running", 0)
    podman("stop", "polite")
    assert podman("logs", "polite").stdout == "ready\nbye\n"
    assert state_of(podman, "polite") == ("exited", 9)
    podman("rm", "polite")


def test_a_stopped_container_starts_again(podman):
    podman("run", "--detach", "--name", "again", IMAGE, "sleep", "1000")
    podman("kill", "again")
    assert podman("wait", "again").stdout == "137\n"
    podman("start", "again")
    assert state_of(podman, "again")[0] == "running"


def test_remove_by_force_ends_a_running_container(podman):
    podman("run", "--detach", "--name", "gone", IMAGE, "sleep", "1000")
    podman("rm", "--force", "--time", "0", "gone")
    assert "gone" not in podman("ps", "--all").stdout


def test_namespaces_of_another_container(podman):
    podman("run", "--detach", "--name", "first", IMAGE, "sleep", "1000")
    others = ["--pid", "container:first", "--network", "container:first", "--ipc", "container:first"]
    done = podman("container", "run", "--rm", *others, IMAGE, "ps")
    assert "sleep 1000" in done.stdout


def test_a_root_filesystem_without_an_image(podman, rootfs):
    assert podman("run", "--rm", "--read-only", "--rootfs", rootfs, "echo", "hi").stdout == "hi\n"


def test_exec(podman):
    podman("run", "--detach", "--name", "busy", IMAGE, "sleep", "1000")
    done = podman(
        "exec", "--user", "1000:1001", "--workdir", "/tmp", "busy", "sh", "-c", "id -u; pwd; ps; exit 3", status=3
    )
    assert done.stdout.split()[:2] == ["1000", "/tmp"]
    assert "sleep 1000" in done.stdout
    assert "/dev/pts/" in podman("exec", "--tty", "busy", "tty", terminal=True).stdout
    assert "/not/there" in podman("exec", "busy", "/not/there", status=127).stderr


def test_a_terminal_that_is_spoken_to(podman):
    speak = {"terminal": True, "input": "echo $((6 * 7)); exit 5\n", "status": 5}
    assert "42" in podman("run", "--rm", "-it", IMAGE, "sh", **speak).stdout
    podman("run", "--detach", "--name", "busy", IMAGE, "sleep", "1000")
    assert "42" in podman("exec", "-it", "busy", "sh", **speak).stdout


def test_update_pause_and_what_is_told_of_a_running_container(podman):
    podman("run", "--detach", "--name", "busy", "--memory", "64m", IMAGE, "sleep", "1000")
    podman("update", "--memory", "32m", "--memory-swap", "48m", "--cpus", "0.25", "busy")
    pid = pid_of(podman, "busy")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    podman("pause", "busy")
    assert state_of(podman, "busy")[0] == "paused"
    podman("unpause", "busy")
    assert podman("stats", "--no-stream", "--format", "{{.PIDs}}", "busy").stdout == "1\n"
    assert "sleep 1000" in podman("top", "busy", "args").stdout


def test_files_are_copied_in_and_out(podman, tmp_path):
    podman("run", "--detach", "--name", "busy", IMAGE, "sleep", "1000")
    (tmp_path / "file").write_text("text\n")
    podman("cp", tmp_path / "file", "busy:/home/file")
    assert podman("exec", "busy", "cat", "/home/file").stdout == "text\n"
    podman("cp", "busy:/home/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "text\n"


def test_a_health_check(podman):
    """Without systemd nobody asks but who calls it."""
    check = ["--health-cmd", "test -e /healthy", "--health-interval", "disable"]
    podman("run", "--detach", "--name", "checked", *check, IMAGE, "sleep", "1000")
    podman("healthcheck", "run", "checked", status=1)
    podman("exec", "checked", "touch", "/healthy")
    podman("healthcheck", "run", "checked")


def test_init_and_no_new_privileges(podman):
    flags = ["--init", "--security-opt", "no-new-privileges"]
    done = podman("run", "--rm", *flags, IMAGE, "sh", "-c", "cat /proc/1/cmdline; grep NoNewPrivs /proc/self/status")
    assert done.stdout.startswith("/run/podman-init\0")
    assert done.stdout.endswith("NoNewPrivs:\t1\n")


def test_a_container_is_restarted_as_often_as_its_policy_says(podman):
    podman("run", "--detach", "--name", "failing", "--restart", "on-failure:2", IMAGE, "false")
    count = ["inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "failing"]
    until(lambda: podman(*count).stdout == "2 exited\n", "two restarts")
