"""`events`: runc's JSON, at intervals, and when memory runs out."""

import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def sleeper(config):
    config["process"]["args"] = ["sleep", "1000"]
    config["linux"]["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 30})


@pytest.fixture
def running(in_background):
    return in_background(sleeper)


def test_stats_have_runcs_form(runtime, running):
    event = json.loads(runtime("events", "--stats", running).stdout)
    assert (event["type"], event["id"]) == ("stats", running)
    data = event["data"]
    assert list(data) == ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    assert data["pids"] == {"current": 1, "limit": 30}
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["raw"]
    assert data["cpu"]["usage"]["total"] > 0
    assert {"kernel", "user"} <= set(data["cpu"]["usage"])
    assert data["network_interfaces"] is None


def test_stats_come_at_intervals_until_the_container_ends(runtime, running):
    command = runtime.command("events", "--interval", "10ms", running)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        runtime("kill", running, "KILL")
        process.stdout.read()
        assert process.wait(timeout=10) == 0
    assert {line["type"] for line in lines} == {"stats"}


def test_running_out_of_memory_is_told(runtime, bundle):
    def greedy(config):
        config["process"]["args"] = ["sh", "-c", "read go; exec tail /dev/zero"]
        config["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}

    container = runtime.id()
    runner = subprocess.Popen(runtime.command("run", "-b", bundle(greedy), container), stdin=subprocess.PIPE)
    while json.loads(runtime("state", container, check=False).stdout or '{"status": ""}')["status"] != "running":
        assert runner.poll() is None
    # The first statistics say that it watches.
    command = runtime.command("events", "--interval", "50ms", container)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["type"] == "stats"
        runner.communicate(b"go\n", timeout=30)
        kinds = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=10) == 0
    assert {"type": "oom", "id": container} in kinds
    assert runner.returncode == 137


@pytest.mark.parametrize("interval", ["0s", "-1s", "5", "soon"])
def test_an_interval_must_be_a_positive_duration(runtime, running, interval):
    done = runtime("events", f"--interval={interval}", running, check=False)
    assert done.returncode == 1
    assert "interval must be greater than 0" in done.stderr
