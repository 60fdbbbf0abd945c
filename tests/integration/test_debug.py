"""--debug and --trace: what each process does, on real containers; and that it costs nothing without them."""

import json
import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

LINE = re.compile(r"\+\d+\.\d{3} ms (?P<row>[a-z]+)\[(?P<pid>\d+)\]: (?P<what>.*)")
KINDS = ("createRuntime", "createContainer", "startContainer", "poststart", "poststop")
SECRET = "TOKEN=do-not-log-this"


@pytest.fixture
def path(bundle):
    """A bundle with a hook of each kind, a limit, and a secret in its environment."""

    def change(config):
        config["process"].update(args=["true"])
        config["process"]["env"].append(SECRET)
        config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in KINDS}
        config["linux"].setdefault("resources", {})["pids"] = {"limit": 100}

    return bundle(change)


def lines(text):
    """Return (row, pid, what) of each line of level debug that is about an event; the text may be stderr's or a log."""
    messages = [
        json.loads(line)["msg"] if line.startswith("{") else line
        for line in text.splitlines()
        if "debug" in line.partition("msg")[0][:60]
    ]
    return [(found["row"], int(found["pid"]), found["what"]) for found in map(LINE.search, messages) if found]


def plan_of(runtime, path):
    """Return the steps that `plan` prints."""
    return json.loads(runtime("plan", "--bundle", path, "--format", "json").stdout)


@pytest.mark.parametrize("form", ["stderr", "text", "json"])
def test_run_tells_what_host_stub_init_and_hooks_do(runtime, path, tmp_path, form):
    log = tmp_path / "log"
    words = [] if form == "stderr" else ["--log", log, "--log-format", form]
    done = runtime("--debug", *words, "run", "--bundle", path, runtime.id())
    text = done.stderr if form == "stderr" else log.read_text()
    found = lines(text)
    assert {row for row, _, _ in found} == {"host", "kernel", "hooks", "stub", "init", "program"}
    host = {pid for row, pid, _ in found if row == "host"}
    child = {pid for row, pid, _ in found if row in ("stub", "init")}
    assert len(host) == len(child) == 1
    assert host != child
    whats = [what for _, _, what in found]
    for step in plan_of(runtime, path):
        if step["op"] != "execve":  # after execve the process writes no events
            assert any(what.startswith(f"{step['op']}(") and step["clause"] in what for what in whats), step
    assert any("/linux/resources/pids/limit" in what for what in whats)
    for kind in KINDS:
        assert any(row == "hooks" and f"/hooks/{kind}/0" in what for row, _, what in found), kind
    for word in ("M (mounted)", "R (ready)", "G (go on)", "X (executes"):
        assert any(f"message {word}" in what for what in whats), word
    assert any("rmdir /sys/fs/cgroup" in what for what in whats)
    assert "do-not-log-this" not in text


def test_each_verb_of_a_lifecycle_tells_its_part(runtime, path):
    name = runtime.id()
    created = lines(runtime("--debug", "create", "--bundle", path, name).stderr)
    assert ("stub", "/mounts/0") in {(row, "/mounts/0") for row, _, what in created if "(/mounts/0, " in what}
    started = lines(runtime("--debug", "start", name).stderr)
    assert any(row == "hooks" and "/hooks/startContainer/0" in what for row, _, what in started)
    assert any(row == "hooks" and "/hooks/poststart/0" in what for row, _, what in started)
    deleted = lines(runtime("--debug", "delete", "--force", name).stderr)
    assert any(what.startswith("rmdir ") for _, _, what in deleted)
    assert any("/hooks/poststop/0" in what for _, _, what in deleted)


def test_start_without_debug_takes_what_init_tells_of_itself(runtime, path):
    name = runtime.id()
    runtime("--debug", "create", "--bundle", path, name)
    assert runtime("start", name).stderr == ""


def test_exec_tells_of_its_process(bundle, runtime):
    path = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    name = runtime.id()
    runtime("run", "--detach", "--bundle", path, name)
    found = lines(runtime("--debug", "exec", "--env", SECRET, name, "true").stderr)
    inside = [what for row, _, what in found if row == "stub"]
    assert any(what.startswith("capset(") and "/process/capabilities" in what for what in inside)
    assert any(what.startswith("setsid(") for what in inside)
    assert not any("do-not-log-this" in what for _, _, what in found)


def test_the_name_of_a_session_keyring_is_not_logged(bundle, runtime):
    path = bundle(lambda config: config["process"].update(args=["true"]))
    name = runtime.id()
    assert f"_ses.{name}" not in runtime("--debug", "run", "--bundle", path, name).stderr


def test_a_failure_is_the_last_line_after_what_was_done_and_undone(bundle, runtime, tmp_path):
    path = bundle(lambda config: config["mounts"].append({"destination": "/nowhere", "type": "nofs"}))
    log = tmp_path / "log"
    runtime("--debug", "--log", log, "--log-format", "json", "run", "--bundle", path, runtime.id(), check=False)
    *before, last = [json.loads(line) for line in log.read_text().splitlines()]
    assert last["level"] == "error"
    assert {entry["level"] for entry in before} == {"debug"}
    assert any("undo: " in entry["msg"] for entry in before)


def test_a_container_holds_neither_log_nor_trace(bundle, runtime, tmp_path):
    path = bundle(lambda config: config["process"].update(args=["sh", "-c", "ls /proc/self/fd; sleep 1000"]))
    name, log, trace = runtime.id(), tmp_path / "log", tmp_path / "trace"
    words = ("--debug", "--log", log, "--trace", trace)
    runtime(*words, "create", "--bundle", path, name)
    pid = json.loads(runtime("state", name).stdout)["pid"]
    held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert not held & {str(log), str(trace)}
    runtime(*words, "start", name)
    # 3 is what lists them.
    assert set(runtime(*words, "exec", name, "ls", "/proc/self/fd").stdout.split()) <= {"0", "1", "2", "3"}


# ---- The trace ----


def events_of(path):
    """Return the events of a trace by row, the names of the rows left out."""
    rows = {}
    for event in json.loads(path.read_text()):
        assert {"ph", "name", "pid"} <= set(event)
        if event["ph"] != "M":
            rows.setdefault(event["cat"], []).append(event)
    return rows


def assert_nested(events):
    """Each event of a row lies in another one, or beside it."""
    ends = []
    for event in sorted(events, key=lambda event: (event["ts"], -event.get("dur", 0))):
        end = event["ts"] + event.get("dur", 0)
        while ends and ends[-1] <= event["ts"] + 0.001:
            ends.pop()
        assert not ends or end <= ends[-1] + 0.001, event
        ends.append(end)


def test_a_trace_has_a_row_for_each_process_and_its_events_nest(runtime, path, tmp_path):
    trace = tmp_path / "trace.json"
    runtime("run", "--trace", trace, "--bundle", path, runtime.id())
    rows = events_of(trace)
    assert set(rows) == {"host", "kernel", "hooks", "stub", "init", "program"}
    for events in rows.values():
        assert_nested(events)
        assert len({event["tid"] for event in events}) == 1
    whole = max(rows["host"], key=lambda event: event.get("dur", 0))
    assert whole["name"] == "pyruntime run"
    for events in rows.values():
        assert all(whole["ts"] <= event["ts"] <= whole["ts"] + whole["dur"] for event in events)
    pointers = {event["args"].get("pointer") for event in rows["stub"]}
    assert {step["pointer"] for step in plan_of(runtime, path) if step["op"] == "mount"} <= pointers
    text = runtime("timeline", trace).stdout
    assert len(text.splitlines()) == 1 + sum(map(len, rows.values()))
    assert "<svg" in runtime("timeline", "--svg", trace).stdout


def test_a_time_namespace_does_not_move_the_times_of_a_trace(bundle, runtime, tmp_path):
    def change(config):
        config["process"].update(args=["true"])
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"monotonic": {"secs": 100000}, "boottime": {"secs": 100000}}

    trace = tmp_path / "trace.json"
    done = runtime("--debug", "run", "--trace", trace, "--bundle", bundle(change), runtime.id())
    assert any(what.startswith("timens_offsets(") for _, _, what in lines(done.stderr))
    rows = events_of(trace)
    whole = max(rows["host"], key=lambda event: event.get("dur", 0))
    for row in ("stub", "program"):
        assert all(whole["ts"] <= event["ts"] <= whole["ts"] + whole["dur"] for event in rows[row])


@pytest.mark.parametrize("verb", ["create", "start", "exec", "delete"])
def test_other_verbs_write_traces_too(bundle, runtime, tmp_path, verb):
    trace, name = tmp_path / "trace.json", runtime.id()
    path = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    words = {
        "create": ["--bundle", path, name],
        "start": [name],
        "exec": [name, "true"],
        "delete": ["--force", name],
    }
    for each, rest in words.items():
        runtime(each, *(["--trace", trace] if each == verb else []), *rest)
    rows = events_of(trace)
    assert any(event["name"] == f"pyruntime {verb}" for event in rows["host"])
    assert ("stub" in rows) == (verb in ("create", "exec"))


def test_a_trace_that_cannot_be_written_is_an_error_before_anything_is_made(bundle, runtime, tmp_path):
    path, name = bundle(lambda config: config["process"].update(args=["true"])), runtime.id()
    for place in (tmp_path / "missing/trace", tmp_path, Path("/dev/full")):
        done = runtime("run", "--trace", place, "--bundle", path, name, check=False)
        assert done.returncode == 1
        assert f"cannot write the trace '{place}'" in done.stderr
        assert not (runtime.root / name).exists()


# ---- The cost ----

# As in test_imports.py; writes which functions of the log and of the events were called, and which modules there are.
PROGRAM = """
import sys
sys.path += sys.argv[2:4]
from pyruntime.cli.main import main
called = set()
def note(frame, event, argument):
    if event == "call" and frame.f_globals.get("__name__") in ("pyruntime.base.log", "pyruntime.base.events"):
        called.add(frame.f_code.co_name)
sys.setprofile(note)
status = main(sys.argv[4:])
sys.setprofile(None)
import posix
text = " ".join([*called, "/", *sys.modules])
posix.write(posix.open(sys.argv[1], posix.O_WRONLY | posix.O_CREAT), text.encode())
posix._exit(status)
"""


@pytest.fixture
def profiled(interpreted):
    """profiled(*words) carries out a verb and returns the functions called of the log, and the modules loaded."""

    def run(*words):
        called, _, modules = interpreted(PROGRAM, *words).partition(" / ")
        return {*called.split()}, {*modules.split()}

    return run


def test_without_debug_and_trace_no_event_is_made(profiled, path, bundle, runtime):
    long, name = bundle(lambda config: config["process"].update(args=["sleep", "1000"])), runtime.id()
    for words in (
        ("run", "--bundle", path, runtime.id()),
        ("create", "--bundle", long, name),
        ("start", name),
        ("exec", name, "true"),
        ("delete", "--force", name),
    ):
        called, modules = profiled(*words)
        assert called <= {"configure", "__init__"}, words
        assert "pyruntime.base.events" not in modules, words
    called, modules = profiled("--debug", "run", "--bundle", path, runtime.id())
    assert {"debug", "done", "mark"} <= called
    assert "pyruntime.base.events" in modules
