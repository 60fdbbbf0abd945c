"""What validating and planning costs, in calls of functions: a count, because time depends on the machine."""

import json
import sys
from pathlib import Path

from invented import facts
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
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    assert calls < CALLS
