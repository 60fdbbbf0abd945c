"""`update`: what is asked for changes, the rest stays; all or nothing."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

MB = 1 << 20


def limited(config):
    config["process"]["args"] = ["sleep", "1000"]
    config["linux"]["resources"].update(
        memory={"limit": 64 * MB}, pids={"limit": 30}, cpu={"quota": 50000, "period": 100000}
    )


@pytest.fixture
def running(in_background):
    return in_background(limited)


class Limits:
    """The limits of a container as its cgroups have them, in the words of v1."""

    def __init__(self, runtime, container):
        record = json.loads((runtime.root / container / "state.json").read_text())["cgroup"]["paths"]
        self.paths = {name: Path(path) for name, path in record.items()}

    def read(self, controller, v1, v2):
        path = self.paths.get(controller)
        return ((path / v1) if path else (self.paths[""] / v2)).read_text().strip()

    @property
    def memory(self):
        return int(self.read("memory", "memory.limit_in_bytes", "memory.max"))

    @property
    def pids(self):
        return self.read("pids", "pids.max", "pids.max")

    @property
    def cpu(self):
        if "cpu" in self.paths:
            return tuple(int(self.read("cpu", f"cpu.cfs_{name}_us", "")) for name in ("quota", "period"))
        return tuple(int(word) for word in self.read("cpu", "", "cpu.max").split())

    @property
    def cpus(self):
        return self.read("cpuset", "cpuset.cpus", "cpuset.cpus")


def stored(runtime, container):
    return json.loads((runtime.root / container / "config.json").read_text())["linux"]["resources"]


def test_what_is_named_changes_and_the_rest_stays(runtime, running):
    assert runtime("update", "--memory", "96m", "--cpu-quota", "20000", running).stdout == ""
    limits = Limits(runtime, running)
    assert (limits.memory, limits.pids, limits.cpu) == (96 * MB, "30", (20000, 100000))
    resources = stored(runtime, running)
    assert resources["memory"] == {"limit": 96 * MB}
    assert resources["cpu"] == {"quota": 20000, "period": 100000}
    assert resources["pids"] == {"limit": 30}


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_limits_come_from_a_document(runtime, running, tmp_path, way):
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"memory": {"limit": 80 * MB, "swap": 0}, "pids": {"limit": -1}, "cpu": {"shares": 0}}))
    if way == "file":
        runtime("update", "-r", path, "--pids-limit", "5", running)
    else:
        with path.open() as file:
            runtime("update", "--resources=-", running, stdin=file)
    limits = Limits(runtime, running)
    assert (limits.memory, limits.pids) == (80 * MB, "max")


def test_memory_and_swap_grow_and_shrink_together(runtime, running):
    for limit in (256, 32, 128):
        runtime("update", "--memory", f"{limit}m", "--memory-swap", f"{2 * limit}M", running)
        assert Limits(runtime, running).memory == limit * MB


def test_what_others_have_changed_is_left_alone(runtime, running):
    limits = Limits(runtime, running)
    directory = limits.paths.get("pids") or limits.paths[""]
    (directory / "pids.max").write_text("77")
    runtime("update", "--memory", "96m", running)
    assert limits.pids == "77"


def test_a_refused_update_is_taken_back(runtime, running):
    limits = Limits(runtime, running)
    before = (limits.memory, limits.pids, limits.cpu, limits.cpus, stored(runtime, running))
    done = runtime(
        "update", "--pids-limit=40", "--memory=96m", "--cpu-quota=30000", "--cpuset-cpus=9999", running, check=False
    )
    assert done.returncode == 1
    assert "cpuset.cpus" in done.stderr
    assert "place          --cpuset-cpus 9999\n" in done.stderr
    assert "config.json  " not in done.stderr
    assert "the limits are as they were before" in done.stderr
    assert (limits.memory, limits.pids, limits.cpu, limits.cpus, stored(runtime, running)) == before


def test_a_refused_update_shows_where_the_value_comes_from_beside_what_is_written(runtime, running, tmp_path):
    done = runtime("update", "--pids-limit", str(2**62), running, check=False)
    assert f"cannot write '{2**62}' to " in done.stderr
    assert f"place          --pids-limit {2**62}\n" in done.stderr
    (tmp_path / "resources.json").write_text(json.dumps({"pids": {"limit": 2**62}}))
    done = runtime("update", "-r", tmp_path / "resources.json", running, check=False)
    assert f"place          {tmp_path}/resources.json: /pids/limit\n" in done.stderr


def test_an_update_that_cannot_be_kept_is_taken_back(runtime, running):
    # Where config.json would be replaced there is something that cannot be.
    (runtime.root / running / ".config.json.new").mkdir()
    done = runtime("update", "--pids-limit", "40", running, check=False)
    assert "config.json" in done.stderr
    assert Limits(runtime, running).pids == "30"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory", "12q"], "--memory 12q"),
        (["--pids-limit", "many"], "--pids-limit many"),
        (["--cpu-period", "-5"], "--cpu-period -5"),
        (["--l3-cache-schema", "L3:0=f"], "Intel RDT"),
        (["--mem-bw-schema", "MB:0=10\nL3:0=f"], "one line"),
        (["--mem-bw-schema", "L3:0=f"], 'starts with "MB:"'),
        (["-r", "/no/such/file"], "/no/such/file"),
    ],
)
def test_what_cannot_be_changes_nothing(runtime, running, words, said):
    before = stored(runtime, running)
    done = runtime("update", *words, running, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert stored(runtime, running) == before


def test_a_document_with_errors_is_explained(runtime, running, tmp_path):
    path = tmp_path / "resources.json"
    path.write_text('{"memory": {"limit": "much"}, "pids": {"limit": 1.5}}')
    done = runtime("update", "-r", path, running, check=False)
    assert f"{path}: /memory/limit" in done.stderr
    assert f"{path}: /pids/limit" in done.stderr


def test_device_rules_stay(runtime, running, tmp_path):
    path = tmp_path / "resources.json"
    path.write_text('{"devices": [{"allow": true, "access": "rwm"}], "pids": {"limit": 31}}')
    done = runtime("update", "-r", path, running)
    assert "device rules" in done.stderr
    assert stored(runtime, running)["devices"] == [{"allow": False, "access": "rwm"}]
    assert Limits(runtime, running).pids == "31"


@pytest.mark.parametrize("unknown", [[1], [[1]], {"priorities": [1]}, {"y": 1}, 1])
def test_what_the_specification_does_not_know_changes_nothing(runtime, running, tmp_path, unknown):
    path = tmp_path / "resources.json"
    for known in ({}, {"x": unknown}):
        path.write_text(json.dumps({"x": unknown, "memory": known, "pids": {"limit": 31}}))
        runtime("update", "-r", path, running)
    assert stored(runtime, running)["pids"] == {"limit": 31}


def test_a_document_of_as_many_levels_as_there_may_be_is_kept(runtime, running, tmp_path):
    path = tmp_path / "resources.json"
    for opened, closed in (("[", "]"), ('{"y":', "}")):
        path.write_text('{"x":' + opened * 250 + "0" + closed * 250 + ', "pids": {"limit": 32}}')
        runtime("update", "-r", path, running)
        runtime("update", "--pids-limit", "33", running)
        assert Limits(runtime, running).pids == "33"
