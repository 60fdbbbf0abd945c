"""A state directory of another user: nothing is done to the processes, files and hooks that its state file names."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

STRANGER = 4242


@pytest.fixture
def foreign(runtime, bundle, tmp_path):
    """A stopped container whose directory a user has made, with a hook that would run as root: (id, its trace)."""
    trace = tmp_path / "ran"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {trace}"]}
    name = runtime.id()
    path = bundle(lambda c: c.update(hooks={"poststop": [hook], "poststart": [hook]}))
    runtime("create", "-b", path, name)
    copy = runtime.root / f"{name}-foreign"
    shutil.copytree(runtime.root / name, copy, ignore=lambda _, names: {"start.sock"} & set(names))
    state = json.loads((copy / "state.json").read_text())
    state["id"] = copy.name
    state["cgroup"] = {}
    state["pid"] = 0
    (copy / "state.json").write_text(json.dumps(state))
    for one in (copy, *copy.iterdir()):
        os.chown(one, STRANGER, STRANGER)
    yield copy.name, trace
    shutil.rmtree(copy, ignore_errors=True)


@pytest.mark.parametrize(
    "words",
    [
        ["delete"],
        ["delete", "--force"],
        ["start"],
        ["kill"],
        ["pause"],
        ["resume"],
        ["update", "--pids-limit", "5"],
        ["ps"],
        ["events", "--stats"],
    ],
    ids=" ".join,
)
def test_what_a_stranger_wrote_is_not_acted_upon(runtime, foreign, words):
    name, trace = foreign
    done = runtime(*words, name, check=False)
    assert done.returncode == 1
    assert f"belongs to user {STRANGER}" in done.stderr
    assert not trace.exists()
    assert (runtime.root / name).exists()


def test_it_can_be_looked_at(runtime, foreign):
    name, _ = foreign
    assert json.loads(runtime("state", name).stdout)["status"] == "stopped"
    assert name in runtime("list").stdout


def a_fifo(place):
    os.mkfifo(place)


def a_link(place):
    place.symlink_to("/dev/zero")


def a_large_file(place):
    with place.open("wb") as file:
        file.truncate(3 << 30)


@pytest.mark.parametrize("make", [a_fifo, a_link, a_large_file])
def test_a_state_file_that_is_none_is_an_error_at_once(runtime, foreign, make):
    name, _ = foreign
    place = runtime.root / name / "state.json"
    place.unlink()
    make(place)
    for done in (runtime("state", name, check=False), runtime("list", check=False)):
        assert f"cannot read {place}" in done.stderr
    assert runtime("state", name, check=False).returncode == 1


def test_the_groups_that_a_stranger_names_are_not_looked_at(runtime, foreign, tmp_path):
    """A FIFO would block the caller, and a device would be opened with the rights of root."""
    name, _ = foreign
    os.mkfifo(tmp_path / "cgroup.freeze")
    place = runtime.root / name / "state.json"
    state = json.loads(place.read_text())
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    state.update(pid=os.getpid(), start_time=int(fields[19]), cgroup={"paths": {"": str(tmp_path)}, "made": []})
    place.write_text(json.dumps(state))
    assert json.loads(runtime("state", name).stdout)["status"] in ("created", "running")
    assert name in runtime("list").stdout
