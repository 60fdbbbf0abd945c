"""`list` and `ps`, in the forms that callers of runc take apart."""

import datetime
import json
import os
import pwd
import time

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def sleeper(config):
    config["process"]["args"] = ["sleep", "1000"]
    config["annotations"] = {"org.example": "yes"}


@pytest.fixture
def running(in_background):
    return in_background(sleeper)


def test_list_prints_a_table(runtime, running):
    title, line = runtime("list").stdout.splitlines()
    assert title.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    state = json.loads(runtime("state", running).stdout)
    assert line.split() == [running, str(state["pid"]), "running", state["bundle"], state["created"], "root"]
    for word in ("PID", "STATUS", "BUNDLE", "CREATED", "OWNER"):
        # Each column begins where its title does.
        assert line[title.index(word) - 1] == " " != line[title.index(word)]


def test_list_prints_json(runtime, running):
    (entry,) = json.loads(runtime("list", "-f", "json").stdout)
    state = json.loads(runtime("state", running).stdout)
    assert entry == {**state, "owner": pwd.getpwuid(0).pw_name}
    assert list(entry) == ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"]


def test_the_state_has_what_runc_adds(runtime, bundle):
    name = runtime.id()
    path = bundle(sleeper)
    before = time.time_ns() // 10**9
    runtime("create", "-b", path, name)
    state = json.loads(runtime("state", name).stdout)
    assert state["rootfs"] == json.loads((path / "config.json").read_text())["root"]["path"]
    made = datetime.datetime.fromisoformat(state["created"][:19]).replace(tzinfo=datetime.timezone.utc)
    assert before <= made.timestamp() <= time.time()
    assert state["owner"] == ""


def test_json_is_as_compact_as_runcs(runtime, running):
    for words in (["list", "-f", "json"], ["ps", "-f", "json", running], ["events", "--stats", running]):
        text = runtime(*words).stdout
        assert text == json.dumps(json.loads(text), separators=(",", ":")) + "\n"


def test_directories_that_are_no_containers_keep_nobody_from_listing(runtime, running):
    for name in ("empty", "half"):
        (runtime.root / name).mkdir()
    (runtime.root / "half" / "config.json").write_text("{")
    (runtime.root / "file").write_text("")
    (runtime.root / "not an id").mkdir()
    try:
        assert running in runtime("list").stdout
        found = {entry["id"]: entry for entry in json.loads(runtime("list", "-f", "json").stdout)}
        assert set(found) == {running, "empty", "half"}
        assert found["empty"]["status"] == "stopped"
        assert set(found["empty"]) | {"annotations"} == set(found[running])
        assert set(runtime("list", "-q").stdout.split()) == {running, "empty", "half"}
        for verb in ("state", "ps"):
            runtime(verb, "empty")
        for verb in ("start", "pause", "resume", "kill"):
            done = runtime(verb, "empty", check=False)
            assert done.returncode == 1 and "internal error" not in done.stderr
        runtime("delete", "empty")
        runtime("delete", "--force", "half")
    finally:
        (runtime.root / "not an id").rmdir()
        (runtime.root / "file").unlink()


def test_list_prints_ids_only(runtime, running):
    assert runtime("list", "-q").stdout == f"{running}\n"


def test_a_stopped_container_is_listed_without_pid(runtime, running):
    runtime("kill", running, "KILL")
    until(lambda: json.loads(runtime("state", running).stdout)["status"] == "stopped", "its end")
    assert json.loads(runtime("list", "--format=json").stdout)[0]["pid"] == 0


def test_an_empty_list(runtime):
    runtime.root.mkdir(parents=True)
    assert json.loads(runtime("list", "-f", "json").stdout) == []
    assert runtime("list", "-q").stdout == ""
    assert runtime("list").stdout.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]


def test_a_root_that_was_named_and_is_missing_is_an_error(runtime):
    done = runtime("list", check=False)
    assert done.returncode == 1
    assert str(runtime.root) in done.stderr


def test_ps_prints_the_pids_as_json(runtime, running, tmp_path):
    runtime("exec", "-d", "--pid-file", tmp_path / "pid", running, "sleep", "1000")
    pids = json.loads(runtime("ps", "-f", "json", running).stdout)
    assert set(pids) == {json.loads(runtime("state", running).stdout)["pid"], int((tmp_path / "pid").read_text())}


@pytest.mark.parametrize("options", [[], ["-ef"], ["aux"], ["-o", "user,pid,args"]])
def test_ps_prints_the_lines_about_the_container_only(runtime, running, options):
    pids = set(json.loads(runtime("ps", "-f", "json", running).stdout))
    title, *lines = runtime("ps", running, *options).stdout.splitlines()
    place = title.split().index("PID")
    assert {int(line.split()[place]) for line in lines} == pids


def test_ps_says_what_is_wrong_with_its_options(runtime, running):
    assert "PID" in runtime("ps", running, "-o", "args", check=False).stderr
    done = runtime("ps", running, "--no-such-option", check=False)
    assert done.returncode == 1
    assert "no-such-option" in done.stderr


def test_without_ps_the_error_says_so(runtime, running, tmp_path):
    done = runtime("ps", running, env={**os.environ, "PATH": str(tmp_path)}, check=False)
    assert done.returncode == 1 and "cannot run ps: no absolute directory of $PATH has it" in done.stderr


def test_ps_of_a_stopped_container_is_empty(runtime, bundle):
    def change(config):
        config["process"]["args"] = ["true"]

    container = runtime.id()
    runtime("run", "--keep", "-b", bundle(change), container)
    assert json.loads(runtime("ps", "-f", "json", container).stdout) == []
    assert len(runtime("ps", container).stdout.splitlines()) == 1
