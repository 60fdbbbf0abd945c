"""What validating and planning costs, in calls of functions: a count, because time depends on the machine."""

import json
import os
import sys
from pathlib import Path

import pytest

from invented import facts
from pyruntime.engine.child.step_array import StepArrays
from pyruntime.engine.criu import mountpoints
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.spec import load_config

DOCKER = Path(__file__).parents[3] / "spec-fixtures/config/good/docker.json"
MOUNTS = 40
# Somewhat more than are needed, which take about 1 ms: one for each system call of the profile would be 357 more, five
# for each mount 200.
CALLS = 4000


def test_docker_with_forty_mounts_and_its_seccomp_profile(tmp_path):
    config = json.loads(DOCKER.read_text())
    for number in range(MOUNTS - len(config["mounts"])):
        mount = {"destination": f"/data/{number}", "type": "bind", "source": "/srv", "options": ["rbind", "rprivate"]}
        config["mounts"].append(mount)
    (tmp_path / "config.json").write_text(json.dumps(config))

    def work():
        compile_plan(Context(load_config(str(tmp_path)), facts(), str(tmp_path), "c1"))

    work()  # what is imported late is imported now
    assert calls(work) < CALLS


def calls(work):
    """Return how many functions, generators and methods are called in the course of `work`."""
    found = 0

    def count(_frame, event, _argument):
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


MANY = {
    "filesystems": lambda number: {"destination": f"/data/{number}", "type": "tmpfs", "options": ["ro", "size=1k"]},
    "binds": lambda number: {"destination": f"/data/{number}", "source": "/", "options": ["rbind", "rro"]},
    "one place": lambda number: {"destination": "/data", "source": "/", "options": ["bind"]},
    "one below the other": lambda number: {"destination": f"/data{'/a' * (number % 1000)}", "type": "tmpfs"},
    "in default filesystems": lambda number: {"destination": f"/dev/shm/{number}", "type": "tmpfs"},
    "in the cgroups": lambda number: {"destination": f"/sys/fs/cgroup/{number}", "type": "tmpfs"},
    "idmapped": lambda number: {
        "destination": f"/data/{number}",
        "source": "/",
        "options": ["bind", "idmap"],
        **dict.fromkeys(("uidMappings", "gidMappings"), [{"containerID": 0, "hostID": number, "size": 1}]),
    },
}


@pytest.mark.parametrize("mount", MANY.values(), ids=MANY)
def test_each_further_mount_costs_the_host_as_much_as_the_one_before(tmp_path, mount):
    """From the text of config.json to the steps that the stub gets: nothing looks at all mounts for each of them."""

    def cost(count):
        config = json.loads(DOCKER.read_text())
        config["mounts"] += map(mount, range(count))
        (tmp_path / "config.json").write_text(json.dumps(config))

        def work():
            plan = compile_plan(Context(load_config(str(tmp_path)), facts(), str(tmp_path), "c1"))
            program = StepArrays()
            program.array(plan.build)
            program.array(plan.enter)

        work()
        return calls(work)

    few, some, many = cost(1000), cost(2000), cost(4000)
    assert few > 1000
    assert abs((many - some) - 2 * (some - few)) <= (some - few) // 100


def test_each_further_mount_costs_restore_as_much_as_the_one_before(tmp_path):
    (tmp_path / "rootfs").mkdir()
    rootfs = os.open(tmp_path / "rootfs", os.O_PATH)

    def cost(count):
        mounts = [{"destination": f"/data/{number}", "type": "tmpfs"} for number in range(count)]
        return calls(lambda: mountpoints.make(rootfs, {"mounts": mounts}, str(tmp_path)))

    cost(400)
    few, some, many = cost(100), cost(200), cost(400)
    os.close(rootfs)
    assert few > 100
    assert many - some == 2 * (some - few)
