"""Docker Engine and a container in the background: exec, attach, update, pause, stop, restart, what is told of it."""

import os
import signal
import time

import pytest
from calling import PATIENCE, limit, lives, until

# When it is told to, takes too much memory in another process, which the kernel is to choose, and then ends.
_GREEDY = """
until test -e /go; do sleep 0.05; done
(echo 1000 > /proc/self/oom_score_adj; x=a; while :; do x=$x$x; done)
until test -e /end; do sleep 0.05; done
exit 9
"""
_POLITE = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done'


@pytest.fixture
def busy(docker) -> str:
    """The name of a container that does nothing."""
    docker("run", "--detach", "--name", "busy", "box", "sleep", "1000")
    return "busy"


@pytest.fixture
def polite(docker) -> str:
    """The name of a container that says goodbye when it is asked to end."""
    docker("run", "--detach", "--name", "polite", "box", "sh", "-c", _POLITE)
    docker.logged("polite", "ready\n")
    return "polite"


# ---- docker exec ----


def test_exec(docker, busy):
    flags = ["--user", "1000:1001", "--workdir", "/tmp", "--env", "COLOUR=blue"]
    done = docker("exec", *flags, busy, "sh", "-c", "id -u; id -g; pwd; echo $COLOUR; exit 3", status=3)
    assert done.stdout.split() == ["1000", "1001", "/tmp", "blue"]
    assert "sleep 1000" in docker("exec", busy, "ps").stdout


def test_exec_with_a_terminal_and_with_standard_input(docker, busy):
    assert "/dev/pts/" in docker("exec", "--tty", busy, "tty", terminal=True).stdout
    assert docker("exec", "--interactive", busy, "cat", input="through the pipe\n").stdout == "through the pipe\n"
    done = docker("exec", "-it", busy, "sh", terminal=True, input="echo $((6 * 7)); exit 5\n", status=5)
    assert "42" in done.stdout


def test_exec_is_under_the_profile_of_the_container(docker, busy):
    done = docker("exec", busy, "grep", "-E", "^(Seccomp|CapEff):", "/proc/self/status")
    assert done.stdout.split() == ["CapEff:", "00000000a80425fb", "Seccomp:", "2"]


def test_exec_with_privileges(docker, busy):
    sys_admin = 1 << 21
    for flags, expected in (((), 0), (("--privileged",), sys_admin)):
        done = docker("exec", *flags, busy, "grep", "CapEff", "/proc/self/status")
        assert int(done.stdout.split()[1], 16) & sys_admin == expected


def test_exec_in_the_background(docker, busy):
    docker("exec", "--detach", busy, "sh", "-c", "echo text > /made")
    until(lambda: docker("exec", busy, "cat", "/made", status=None).stdout == "text\n", "the file")


# ---- Health ----


def test_a_health_check(docker):
    flags = ["--health-cmd", "test -e /healthy", "--health-interval", "1s", "--health-retries", "1"]
    docker("run", "--detach", "--name", "checked", *flags, "box", "sh", "-c", "touch /healthy; sleep 1000")
    until(lambda: docker.inspect("checked", "{{.State.Health.Status}}") == "healthy", "the container to be healthy")
    docker("exec", "checked", "rm", "/healthy")
    until(lambda: docker.inspect("checked", "{{.State.Health.Status}}") == "unhealthy", "it to be unhealthy")


# ---- What is told of it ----


def test_stats_are_those_of_the_container(docker, busy):
    # dockerd reads statistics at intervals, and has none before the first.
    until(lambda: docker("stats", "--no-stream", "--format", "{{.PIDs}}", busy).stdout == "1\n", "its one process")


def test_top_shows_its_processes(docker, busy):
    lines = docker("top", busy, "-o", "pid,args").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [[str(docker.pid(busy)), "sleep", "1000"]]


def test_files_are_copied_in_and_out(docker, busy, tmp_path):
    (tmp_path / "file").write_text("text\n")
    docker("cp", tmp_path / "file", f"{busy}:/home/file")
    assert docker("exec", busy, "cat", "/home/file").stdout == "text\n"
    docker("cp", f"{busy}:/home/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "text\n"
    assert "A /home/file" in docker("diff", busy).stdout


def test_logs_are_followed_to_the_end(docker):
    docker("run", "--detach", "--name", "talking", "box", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert docker("logs", "--follow", "talking").stdout == "1\n2\n3\n"


def test_events_tell_its_life(docker):
    """Its memory runs out when its shim watches, and before it ends: the shim tells of both in no certain order."""
    began = int(time.time())

    def events():
        window = ["--since", str(began), "--until", str(int(time.time()) + 1), "--filter", "container=eventful"]
        lines = docker("events", *window, "--format", "{{.Action}}").stdout.splitlines()
        return [line for line in lines if not line.startswith("exec_")]

    limits = ("--memory", "8m", "--memory-swap", "8m")
    docker("run", "--detach", "--name", "eventful", *limits, "box", "sh", "-c", _GREEDY)
    docker("exec", "eventful", "touch", "/go")
    until(lambda: "oom" in events(), "the kernel to have killed a process")
    docker("exec", "eventful", "touch", "/end")
    assert docker("wait", "eventful").stdout == "9\n"
    assert events() == ["create", "start", "oom", "die"]
    assert docker.inspect("eventful", "{{.State.OOMKilled}}") == "true"


# ---- Streams ----


def test_attach_speaks_and_hears(docker):
    script = "read line; echo heard $line; sleep 1000"
    docker("run", "--detach", "--interactive", "--name", "listening", "box", "sh", "-c", script)
    with docker.start("attach", "listening") as attached:
        attached.stdin.write("a word\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "heard a word\n"
        docker("kill", "listening")
        assert attached.wait(PATIENCE) == 137


def test_start_with_streams(docker):
    docker("create", "--network", "none", "--interactive", "--name", "later", "box", "cat")
    done = docker("start", "--attach", "--interactive", "later", input="through the pipe\n")
    assert done.stdout == "through the pipe\n"


# ---- Other limits, and pause ----


def test_update_changes_the_limits_of_a_running_container(docker):
    docker("run", "--detach", "--name", "limited", "--memory", "64m", "box", "sleep", "1000")
    pid = docker.pid("limited")
    docker("update", "--memory", "32m", "--memory-swap", "48m", "--cpus", "0.25", "--pids-limit", "44", "limited")
    docker("update", "--cpu-shares", "512", "--cpuset-cpus", "0", "--memory-reservation", "16m", "limited")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    # cgroup v2 has swap alone where v1 has the sum.
    assert limit(pid, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max") in (str(48 << 20), str(16 << 20))
    assert limit(pid, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(16 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    assert limit(pid, "pids", "pids.max", "pids.max") == "44"
    assert limit(pid, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    docker("update", "--pids-limit", "-1", "limited")
    assert limit(pid, "pids", "pids.max", "pids.max") == "max"


def test_pause_holds_the_processes(docker):
    script = "while :; do echo x >> /count; sleep 0.01; done"
    docker("run", "--detach", "--name", "counting", "box", "sh", "-c", script)
    until(lambda: "x" in docker("exec", "counting", "cat", "/count", status=None).stdout, "it to count")
    docker("pause", "counting")
    assert docker.state("counting")[0] == "paused"
    assert "is paused" in docker("exec", "counting", "true", status=1).stderr
    size = docker("cp", "counting:/count", "-").stdout.count("x")
    assert docker("cp", "counting:/count", "-").stdout.count("x") == size
    docker("unpause", "counting")
    until(lambda: docker("cp", "counting:/count", "-").stdout.count("x") > size, "it to go on")
    docker("pause", "counting")
    docker("rm", "--force", "counting")


# ---- The end, and what comes after ----


def test_stop_lets_the_process_say_goodbye(docker, polite):
    assert docker.state(polite) == ("running", 0)
    docker("stop", polite)
    assert docker("logs", polite).stdout == "ready\nbye\n"
    assert docker.state(polite) == ("exited", 9)
    docker("rm", polite)


def test_stop_kills_what_does_not_listen(docker, busy):
    """The first process of a pid namespace gets no signal that it does not handle."""
    docker("stop", "--time", "1", busy)
    assert docker.state(busy) == ("exited", 137)


def test_a_stopped_container_starts_again(docker, busy):
    docker("kill", busy)
    assert docker.ended(busy) == 137
    docker("start", busy)
    assert docker.state(busy) == ("running", 0)
    docker("restart", "--time", "0", busy)
    assert docker.state(busy) == ("running", 0)


def test_kill_sends_any_signal(docker):
    script = 'trap "exit 11" USR1; echo ready; while :; do sleep 0.05; done'
    docker("run", "--detach", "--name", "signalled", "box", "sh", "-c", script)
    docker.logged("signalled", "ready\n")
    docker("kill", "--signal", "USR1", "signalled")
    assert docker("wait", "signalled").stdout == "11\n"


def test_a_container_is_restarted_as_often_as_its_policy_says(docker):
    docker("run", "--detach", "--name", "failing", "--restart", "on-failure:2", "box", "false")
    until(lambda: docker.inspect("failing", "{{.RestartCount}} {{.State.Status}}") == "2 exited", "two restarts")


def test_a_container_is_restarted_until_it_is_stopped(docker):
    docker("run", "--detach", "--name", "returning", "--restart", "always", "box", "sleep", "1000")
    pid = docker.pid("returning")
    os.kill(pid, signal.SIGKILL)
    until(lambda: docker.state("returning")[0] == "running" and docker.pid("returning") not in (0, pid), "a restart")
    docker("stop", "--time", "0", "returning")
    assert docker.state("returning")[0] == "exited"


def test_remove_by_force_ends_a_running_container(docker, busy):
    pid = docker.pid(busy)
    docker("rm", "--force", busy)
    assert not lives(pid, "sleep")
