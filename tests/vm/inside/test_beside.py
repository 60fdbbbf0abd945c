"""tests/beside on cgroup v2 with systemd, a part of it: what a process sees is what it sees under runc or crun."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "beside"))
import deviations
import peers

# Limits, devices and groups, which are not the same on v1; and the labels of AppArmor.
SAMPLE = (
    *(
        "as it is",
        "cpu",
        "cpu shares 1",
        "cpu shares 300000",
        "cpu burst",
        "cpu not idle",
        "memory unlimited with swap",
    ),
    *("memory", "pids 0", "pids -1", "block I/O weight", "huge pages", "unified", "device rules", "no resources"),
    *("cgroupsPath not there", "cgroup writable", "namespace cgroup of the caller", "user namespace", "updated"),
    *("apparmorProfile on a host without", "apparmorProfile unknown on a host without", "hooks, run"),
    "exec into a paused container",
)
SHOWN = [line for line in deviations.LINES if line.shown]


@pytest.fixture(scope="module", params=["cgroupfs", "systemd"])
def measured(request, pyruntime):
    """What each variation shows under each runtime, with a driver."""
    environment = {"BESIDE_PROBE": f"{sys.prefix}/probe", "BESIDE_DRIVER": request.param, "PYRUNTIME_PATIENCE": "120"}
    found = peers.measure(pyruntime, variations=";".join(SAMPLE), environment=environment)
    # Which runc and crun take from the host (deviations.py).
    subprocess.run(["mount", "-o", "remount,nsdelegate,memory_recursiveprot", "/sys/fs/cgroup"], check=True)
    return found


@pytest.mark.parametrize("name", SAMPLE)
def test_each_difference_has_a_line(measured, name):
    deviations.assert_listed(measured, name)


@pytest.mark.parametrize("line", SHOWN, ids=lambda line: line.what)
def test_each_line_has_a_difference(measured, line):
    if peers.versions() != deviations.SEEN_WITH_V2:
        pytest.skip("the lines were seen beside other versions of the peers")
    variation, path, values = line.shown
    ours, *theirs = deviations.differing(measured, variation)[path]
    assert isinstance(ours, list) or (*theirs, ours) == values


def test_the_probe_has_run(measured):
    """A comparison of nothing with nothing has no differences."""
    for values in measured["as it is"].values():
        assert values["process: arguments"] == ["/probe", "--to", "/out/process"]
        assert values["process: cgroup limits: cgroup.type"] == "domain"
