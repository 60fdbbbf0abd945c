"""A container that may write to its cgroups freezes itself: it is paused then, and can be ended all the same."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = "/home"  # where the container finds it
# Version -> where its freezer is, the file that freezes, and what is written there.
FREEZERS = {
    "v1": (CGROUPS / "freezer", "freezer.state", "FROZEN"),
    "v2": (CGROUPS / "unified" if (CGROUPS / "unified").is_dir() else CGROUPS, "cgroup.freeze", "1"),
}
# Beside init, a process in the container's own group freezes that of init again and again.
GROUPS = {
    "its own": "d=$top; echo {word} > $d/{file}",
    "one below": "d=$top/a; mkdir -p $d; echo $$ > $d/cgroup.procs; echo {word} > $d/{file}",
    "deep below": "d=$top/a/b/c/d; mkdir -p $d; echo $$ > $d/cgroup.procs; echo {word} > $top/a/b/{file}",
    "again and again": "d=$top/a; mkdir -p $d; (while :; do echo {word} > $d/{file}; done) & "
    "echo $$ > $d/cgroup.procs; while :; do sleep 1; done",
}


@pytest.fixture(params=sorted(FREEZERS))
def freezer(request):
    place, file, word = FREEZERS[request.param]
    kind = "cgroup" if request.param == "v1" else "cgroup2"
    if not any(line.split()[1:3] == [str(place), kind] for line in Path("/proc/mounts").read_text().splitlines()):
        pytest.skip(f"no freezer of cgroup {request.param}")
    return place, file, word


@pytest.fixture
def frozen(runtime, bundle, freezer):
    """A factory: frozen(group) returns the id of a container whose init has frozen itself so."""
    place, file, word = freezer
    script = f"top={inside(place)}; {{}}; sleep 1000"

    def make(group, namespaces=None):
        def change(config):
            config["process"]["args"] = ["sh", "-c", script.format(GROUPS[group].format(word=word, file=file))]
            writable(config)
            if namespaces:
                namespaces(config["linux"]["namespaces"])

        name = runtime.id()
        runtime("run", "-d", "-b", bundle(change), name)
        until(lambda: state(runtime, name)["status"] == "paused", "the container to be paused")
        return name

    return make


def writable(config):
    """Let the container write to its groups, those of the unified hierarchy on a hybrid host among them."""
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "rw"]
    config["mounts"].append({"destination": UNIFIED, "type": "cgroup2", "source": "cgroup2"})


def inside(place):
    """Return where the container finds a hierarchy of the host."""
    return UNIFIED if place.name == "unified" or place == CGROUPS else place


def state(runtime, name):
    return json.loads(runtime("state", name).stdout)


def gone(runtime, name):
    assert not (runtime.root / name).exists()
    assert not [path for path, names, _ in os.walk(CGROUPS) if any(name in one for one in names)]


@pytest.mark.parametrize("group", GROUPS)
def test_sigkill_ends_a_container_that_froze_itself(runtime, frozen, group):
    name = frozen(group)
    runtime("kill", name, "KILL")
    until(lambda: state(runtime, name)["status"] == "stopped", "its end")
    runtime("delete", name)
    gone(runtime, name)


@pytest.mark.parametrize("group", GROUPS)
def test_delete_by_force_ends_a_container_that_froze_itself(runtime, frozen, group):
    name = frozen(group)
    runtime("delete", "--force", name)
    gone(runtime, name)


@pytest.mark.parametrize("group", ["its own", "deep below"])
def test_without_a_pid_namespace_too(runtime, frozen, group):
    def share(namespaces):
        namespaces[:] = [entry for entry in namespaces if entry["type"] != "pid"]

    name = frozen(group, share)
    runtime("kill", name, "KILL")
    until(lambda: state(runtime, name)["status"] == "stopped", "its end")
    runtime("delete", name)
    gone(runtime, name)


@pytest.mark.parametrize("group", ["its own", "one below", "deep below"])
def test_exec_says_that_it_is_paused_and_resume_resumes_it(runtime, frozen, group):
    name = frozen(group)
    done = runtime("exec", name, "true", check=False)
    assert done.returncode == 255 and "it is paused" in done.stderr
    runtime("resume", name)
    assert state(runtime, name)["status"] == "running"
    runtime("exec", name, "true")


def members(runtime, name):
    return len(json.loads(runtime("ps", "--format", "json", name).stdout))


@pytest.mark.parametrize("options", [[], ["--tty"], ["--detach"], ["--user", "5:5"]], ids=" ".join)
@pytest.mark.parametrize("limit", [0, 2], ids=["", "without room"])
def test_exec_that_is_frozen_on_its_way_in_answers_to_sigterm(runtime, bundle, options, limit):
    """Frozen after the check, before it can be seen: what it has made is gone when the container goes on."""
    name = runtime.id()
    place = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    runtime("run", "--detach", "-b", place, name)
    if limit:
        runtime("update", "--pids-limit", limit, name)
    runtime("pause", name)
    command = runtime.command("exec", "--ignore-paused", *options, name, "true")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as exec_:
        # Its process is in the container's group, or waits to be.
        until(
            lambda: runtime("ps", "--format", "json", name).stdout.count(",") or exec_.poll() is not None, "its process"
        )
        exec_.send_signal(signal.SIGTERM)
        said = exec_.communicate(timeout=30)[1]
    assert exec_.returncode == 255 and "signal 15 came" in said
    runtime("resume", name)
    until(lambda: members(runtime, name) == 1, "its end")
    assert runtime("exec", name, "echo", "alive").stdout == "alive\n"


def groups_below(top, name, last):
    """Yield the groups `last` below one of `name`. Not by rglob, which fails where a group goes away meanwhile."""
    for path, _, _ in os.walk(top):
        if path.endswith(f"/{last}") and name in path:
            yield Path(path)


def test_a_group_that_does_not_hold_init_pauses_nobody(runtime, bundle, freezer):
    place, file, word = freezer

    def change(config):
        top = inside(place)
        script = f"mkdir {top}/a; sleep 1000 & echo $! > {top}/a/cgroup.procs; echo {word} > {top}/a/{file}"
        config["process"]["args"] = ["sh", "-c", f"{script}; exec sleep 1000"]
        writable(config)

    name = runtime.id()
    runtime("run", "-d", "-b", bundle(change), name)
    inner = until(lambda: next(groups_below(place, name, "a"), None), "its group")
    until(lambda: (inner / file).read_text().strip() == word, "the freezing")
    assert state(runtime, name)["status"] == "running"
    if file == "cgroup.freeze":  # which cannot freeze what v1's holds
        runtime("pause", name)
        runtime("resume", name)
    # What the container paused itself stays so.
    assert (inner / file).read_text().strip() == word
    runtime("delete", "--force", name)
    gone(runtime, name)
