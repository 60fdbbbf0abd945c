"""containerd: `ctr run --runc-binary pyruntime`, and the tasks that stay in the background."""

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from calling import DEBIAN, IMAGE, PATIENCE, limit, until


@pytest.fixture
def ctr(containerd):
    return containerd.ctr


@pytest.fixture(scope="module")
def debian(containerd_daemon, debian_image):
    """The name of an image with a Debian root filesystem."""
    containerd_daemon.ctr("image", "import", debian_image, timeout=120)
    return DEBIAN


@pytest.mark.parametrize("snapshotter", ["native", "overlayfs"])
def test_run_prints_what_the_container_says(containerd, ctr, snapshotter):
    if not any(line.split()[1:] == [snapshotter, "linux/amd64", "ok"] for line in _plugins(ctr)):
        pytest.skip(f"needs a filesystem on which containerd's snapshotter {snapshotter} works")
    done = ctr("run", "--rm", "--snapshotter", snapshotter, IMAGE, "c", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert containerd.left() == []


def _plugins(ctr):
    return [line for line in ctr("plugins", "ls").stdout.splitlines() if "snapshotter" in line]


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_run_returns_the_exit_status(ctr, status):
    ctr("run", "--rm", IMAGE, "c", "sh", "-c", f"exit {status}", status=status)


def test_a_debian_runs(ctr, debian):
    script = 'source /etc/os-release; echo "$ID $$"; dpkg --audit; exit 3'
    done = ctr("run", "--rm", debian, "c", "bash", "-c", script, status=3)
    assert done.stdout == "debian 1\n"


def test_a_debian_starts_is_waited_for_and_is_deleted(containerd, ctr, debian):
    ctr("run", "--detach", debian, "c", "bash", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    assert containerd.status("c") == "RUNNING"
    assert containerd.left() == ["c"]
    pid = containerd.pid("c")
    # Until bash has set its trap, pid 1 ignores the signal.
    until(lambda: _stopped_by_term(containerd), "the container to end")
    assert "7" in ctr("task", "delete", "c", status=None).stderr
    assert containerd.left() == []
    assert not os.path.exists(f"/proc/{pid}")
    ctr("container", "delete", "c")


def _stopped_by_term(containerd) -> bool:
    containerd.ctr("task", "kill", "--signal", "TERM", "c", status=None)
    return containerd.status("c") == "STOPPED"


def test_kill_ends_a_detached_container(containerd, ctr):
    ctr("run", "--detach", IMAGE, "c", "sleep", "1000")
    assert _arguments(containerd.pid("c")) == ["sleep", "1000"]
    ctr("task", "kill", "--signal", "KILL", "c")
    until(lambda: containerd.status("c") == "STOPPED", "the container to end")
    assert "exit code 137" in ctr("task", "delete", "c", status=None).stderr


def _arguments(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read().split("\0")[:-1]


def test_kill_of_an_ended_container_is_known_to_be_too_late(containerd, ctr):
    """containerd takes the runtime's "container not running" for this; anything else would be an unknown error."""
    ctr("run", "--detach", IMAGE, "c", "true")
    until(lambda: containerd.status("c") == "STOPPED", "the container to end")
    assert "process already finished: not found" in ctr("task", "kill", "c", status=1).stderr


def test_delete_by_force_ends_a_running_container(containerd, ctr):
    ctr("run", "--detach", IMAGE, "c", "sleep", "1000")
    pid = containerd.pid("c")
    ctr("task", "delete", "--force", "c", status=None)
    assert containerd.left() == []
    assert not os.path.exists(f"/proc/{pid}")


def test_the_id_is_free_again_after_delete(ctr):
    for _ in range(2):
        ctr("run", "--rm", IMAGE, "again", "true")


def test_the_process_is_what_the_flags_say(ctr):
    done = ctr("run", "--rm", "--env", "COLOUR=blue", "--cwd", "/tmp", IMAGE, "c", "sh", "-c", "echo $COLOUR; pwd")
    assert done.stdout == "blue\n/tmp\n"


def test_a_terminal(ctr):
    done = ctr("run", "--rm", "--tty", IMAGE, "c", "sh", "-c", "tty; exit 5", status=5, terminal=True)
    assert "/dev/pts/0" in done.stdout


def test_standard_input(ctr):
    with ctr.start("run", "--rm", IMAGE, "c", "head", "-n", "1") as process:
        process.stdin.write("through the pipe\n")
        process.stdin.flush()
        assert process.stdout.readline() == "through the pipe\n"
        assert process.wait(PATIENCE) == 0


def test_the_pid_file_names_the_process(containerd, ctr, tmp_path):
    ctr("run", "--detach", "--pid-file", tmp_path / "pid", IMAGE, "c", "sleep", "1000")
    assert int((tmp_path / "pid").read_text()) == containerd.pid("c")


def test_limits(containerd, ctr):
    ctr("run", "--detach", "--memory-limit", 64 << 20, "--cpus", "0.5", IMAGE, "c", "sleep", "1000")
    pid = containerd.pid("c")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_metrics_are_those_of_the_container(ctr):
    """The shim reads them from the cgroup of the process whose pid the runtime told it."""
    ctr("run", "--detach", IMAGE, "c", "sleep", "1000")
    metrics = ctr("task", "metrics", "--format", "json", "c").stdout
    assert json.loads(metrics)["pids"]["current"] == 1


def test_a_chosen_cgroup(containerd, ctr):
    ctr("run", "--detach", "--cgroup", f"/{containerd.namespace}/chosen/group", IMAGE, "c", "sleep", "1000")
    with open(f"/proc/{containerd.pid('c')}/cgroup") as file:
        assert {line.split(":")[2].strip() for line in file if not line.split(":")[2].startswith("/\n")} == {
            f"/{containerd.namespace}/chosen/group"
        }


def test_the_root_is_read_only_and_a_mount_is_not(ctr, tmp_path):
    script = "echo x > /in/made; echo x > /made"
    mount = f"type=bind,src={tmp_path},dst=/in,options=rbind:rw"
    done = ctr("run", "--rm", "--read-only", "--mount", mount, IMAGE, "c", "sh", "-c", script, status=1)
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "made").read_text() == "x\n"


def test_a_root_filesystem_without_an_image(ctr, rootfs):
    assert ctr("run", "--rm", "--rootfs", rootfs, "c", "/bin/echo", "hi").stdout == "hi\n"


def test_the_network_of_the_host(ctr):
    done = ctr("run", "--rm", "--net-host", IMAGE, "c", "ls", "/sys/class/net")
    assert done.stdout.split() == sorted(os.listdir("/sys/class/net"))


def test_the_network_is_its_own_otherwise(ctr):
    assert ctr("run", "--rm", IMAGE, "c", "ls", "/sys/class/net").stdout == "lo\n"


def test_the_default_seccomp_profile_is_in_force(ctr):
    script = "grep Seccomp: /proc/1/status; unshare -U true"
    done = ctr("run", "--rm", "--seccomp", IMAGE, "c", "sh", "-c", script, status=1)
    assert done.stdout.split() == ["Seccomp:", "2"]
    assert "Operation not permitted" in done.stderr


def test_a_program_that_is_not_there(containerd, ctr):
    done = ctr("run", "--rm", IMAGE, "c", "/not/there", status=1)
    assert "cannot execute /not/there" in done.stderr
    assert "no such file or directory" in done.stderr
    assert containerd.left() == []


def test_what_the_runtime_refuses_reaches_the_user_with_its_place(containerd, ctr, bundle):
    def nonsense(config):
        config["process"]["rlimits"] = [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]

    done = ctr("run", "--rm", "--config", bundle(nonsense) / "config.json", "c", status=1)
    assert "/process/rlimits/0/type" in done.stderr
    assert containerd.left() == []


def test_a_program_that_the_kernel_does_not_execute(containerd, ctr, tmp_path):
    """It shows only at start, when containerd has a container that it has to be rid of again."""
    (tmp_path / "nonsense").write_text("\0nonsense")
    (tmp_path / "nonsense").chmod(0o755)
    mount = f"type=bind,src={tmp_path},dst=/in,options=rbind:ro"
    done = ctr("run", "--rm", "--mount", mount, IMAGE, "c", "/in/nonsense", status=1)
    assert "exec format error" in done.stderr.lower()
    assert containerd.left() == []


def test_exec(containerd, ctr, tmp_path):
    """What is said goes to a file: of a process's output ctr 1.6 loses some now and then, whatever the runtime."""
    mount = f"type=bind,src={tmp_path},dst=/out,options=rbind:rw"
    ctr("run", "--detach", "--mount", mount, IMAGE, "c", "sleep", "1000")
    ctr("task", "exec", "--exec-id", "e", "--cwd", "/tmp", "c", "sh", "-c", "(pwd; ps) >/out/said; exit 4", status=4)
    said = (tmp_path / "said").read_text()
    assert said.startswith("/tmp\n")
    assert "sleep 1000" in said
    assert "cannot execute /not/there" in ctr("task", "exec", "--exec-id", "e", "c", "/not/there", status=1).stderr
    assert containerd.status("c") == "RUNNING"


def test_a_container_whose_shim_is_killed_is_ended_and_deleted(containerd, ctr):
    """containerd has the runtime delete it by force, from a directory with nothing of the shim's left."""
    ctr("run", "--detach", IMAGE, "c", "sleep", "1000")
    pid = containerd.pid("c")
    os.kill(_parent(pid), signal.SIGKILL)
    until(lambda: containerd.left() == [], "the container to be deleted")
    until(lambda: not os.path.exists(f"/proc/{pid}"), "its process to be gone")
    until(lambda: containerd.status("c") == "", "containerd to know it")


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("PPid:"))


# It keeps the word that it has read, and writes it when the file /io/end is there.
REMEMBERS = "read word </io/word; touch /io/ready; until [ -e /io/end ]; do sleep 0.1; done; echo $word >/io/remembered"


def test_a_checkpoint_is_restored_or_cannot_be_made_and_leaves_the_container_running(containerd, ctr, tmp_path):
    works = subprocess.run(["sh", "-c", "criu check"], capture_output=True, check=False).returncode == 0
    io = tmp_path / "io"
    io.mkdir()
    (io / "word").write_text("before\n")
    mount = f"type=bind,src={io},dst=/io,options=rbind:rw"
    ctr("run", "--detach", "--mount", mount, IMAGE, "c", "sh", "-c", REMEMBERS)
    until((io / "ready").exists, "the container to have read its word")
    if works:
        ctr("container", "checkpoint", "--rw", "--image", "--task", "c", "example.org/checkpoint:1")
        ctr("task", "delete", "--force", "c")
        ctr("container", "delete", "c")
        (io / "word").write_text("after\n")
        (io / "end").touch()
        ctr("container", "restore", "--rw", "--live", "c", "example.org/checkpoint:1")
        until((io / "remembered").exists, "the restored container to go on")
        assert (io / "remembered").read_text() == "before\n"
        return
    done = ctr("task", "checkpoint", "--image-path", tmp_path / "images", "c", status=1)
    assert "criu" in done.stderr
    assert containerd.status("c") == "RUNNING"
    assert ctr("task", "exec", "--exec-id", "e", "c", "true").returncode == 0


def test_many_processes_at_the_same_time_in_one_container(ctr):
    ctr("run", "--detach", IMAGE, "c", "sleep", "1000")

    def execute(number):
        return ctr("task", "exec", "--exec-id", f"e{number}", "c", "sh", "-c", f"exit {number}", status=number).stderr

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(execute, range(24))) == [""] * 24


def test_containers_made_at_the_same_time_all_run(containerd, ctr, tmp_path):
    """The shim writes what they say to files.

    ctr gives up a FIFO that it has not opened when the container has ended already, with every runtime: its output is
    lost then, more often the faster the runtime is.
    """

    def run(number):
        said = tmp_path / str(number)
        script = f"echo {number}; exit {number}"
        ctr("run", "--rm", "--log-uri", f"file://{said}", IMAGE, f"c{number}", "sh", "-c", script, status=number)
        return said.read_text()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(24))) == [f"{number}\n" for number in range(24)]
    assert containerd.left() == []
