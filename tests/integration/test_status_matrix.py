"""Each verb on a container in each status: decided by the spec where it speaks, and by runc where it does not."""

import json
import os
import select
import subprocess
from pathlib import Path

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

STATUSES = ("creating", "created", "running", "paused", "stopped", "unknown", "damaged", "other version")

# What a cell says: OK, or a word of the error. The last three columns are about what stands in state.json.
OK = ""
UNKNOWN, DAMAGED, VERSION = "does not exist", "state.json", "has version"
BAD = (UNKNOWN, DAMAGED, VERSION)

VERBS = {
    "state": ("state", "ID"),
    "start": ("start", "ID"),
    "kill": ("kill", "ID", "CONT"),
    "kill --all": ("kill", "--all", "ID", "CONT"),
    "kill KILL": ("kill", "ID", "KILL"),
    "delete": ("delete", "ID"),
    "delete --force": ("delete", "--force", "ID"),
    "exec": ("exec", "ID", "true"),
    "pause": ("pause", "ID"),
    "resume": ("resume", "ID"),
    "ps": ("ps", "ID"),
    "events --stats": ("events", "--stats", "ID"),
    "update": ("update", "--pids-limit", "50", "ID"),
    "create": ("create", "--bundle", "BUNDLE", "ID"),
    "run": ("run", "--detach", "--bundle", "BUNDLE", "ID"),
    "checkpoint": ("checkpoint", "--image-path", "NEW", "ID"),
    "checkpoint --pre-dump": ("checkpoint", "--pre-dump", "--image-path", "NEW", "ID"),
    "restore": ("restore", "--detach", "--image-path", "IMAGES", "--bundle", "BUNDLE", "ID"),
}

# S: decided by the spec (runtime.md); the other rows, and the status "paused", by runc.
MATRIX = {
    # verb             creating       created          running         paused          stopped
    "state": (OK, OK, OK, OK, OK, *BAD),  # S
    "start": ("it is creating", OK, "it is running", "it is paused", "it is stopped", *BAD),  # S
    "kill": ("it is creating", OK, OK, OK, "container not running", *BAD),  # S
    "kill --all": ("it is creating", OK, OK, OK, OK, *BAD),
    "kill KILL": ("it is creating", OK, OK, OK, "container not running", *BAD),  # S
    "delete": ("it is creating", "it is created", "it is running", "it is paused", OK, *BAD),  # S
    "delete --force": (OK, OK, OK, OK, OK, OK, OK, OK),
    "exec": ("it is creating", OK, OK, "it is paused", "it is stopped", *BAD),
    "pause": ("it is creating", OK, OK, "it is paused", "container not running", *BAD),
    "resume": ("not paused", "not paused", "not paused", OK, "not paused", *BAD),
    "ps": (OK, OK, OK, OK, OK, *BAD),
    "events --stats": ("not running", OK, OK, OK, "not running", *BAD),
    "update": ("it is creating", OK, OK, OK, "container not running", *BAD),
    "create": ("exists already",) * 5 + (OK,) + ("exists already",) * 2,  # S: the id must be unique
    "run": ("exists already",) * 5 + (OK,) + ("exists already",) * 2,  # S: it begins with create
    "checkpoint": ("creating state", "created state", OK, OK, "stopped state", *BAD),
    "checkpoint --pre-dump": ("creating state", "created state", OK, OK, "stopped state", *BAD),
    "restore": ("exists already",) * 5 + (OK,) + ("exists already",) * 2,
}

# Row -> the clause that a cell of it shows where the spec refuses.
REFUSALS = {
    "start": "runtime.md#start/not-created",
    "kill": "runtime.md#kill/not-alive",
    "kill KILL": "runtime.md#kill/not-alive",
    "delete": "runtime.md#delete/not-stopped",
    "create": "runtime.md#create/id-taken-or-invalid",
}
CELLS = [
    pytest.param(
        *(verb, status, expected),
        marks=[pytest.mark.clause(REFUSALS[verb])] if expected and number < 5 and verb in REFUSALS else [],
        id=f"{verb}-{status}",
    )
    for verb, row in MATRIX.items()
    for number, (status, expected) in enumerate(zip(STATUSES, row, strict=True))
]

# Cells that differ from runc's: the spec forbids them, or runc has no such status.
NOT_AS_RUNC = {
    ("delete", "created"),  # runc kills it
    ("start", "creating"),
}


# What `state` says after a cell that succeeds; "" for a container that is not there any more. Other verbs leave the
# status as it was.
AFTER = {
    ("start", "created"): "running",
    ("kill KILL", "created"): "stopped",
    ("kill KILL", "running"): "stopped",
    ("kill KILL", "paused"): "stopped",
    ("pause", "created"): "paused",
    ("pause", "running"): "paused",
    ("resume", "paused"): "running",
    ("delete", "stopped"): "",
    ("checkpoint", "running"): "",
    ("checkpoint", "paused"): "",
    ("create", "unknown"): "created",
    ("run", "unknown"): "running",
    ("restore", "unknown"): "running",
    **{("delete --force", status): "" for status in STATUSES},
}
_SOON = {"kill KILL"}  # the process ends a little later


def sleeper(config):
    config["process"]["args"] = ["sleep", "1000"]


class Containers:
    """Brings a container into a status; each method returns its id."""

    def __init__(self, runtime, bundle, directory):
        self.runtime = runtime
        self.bundle = bundle
        self.directory = directory
        self.creators = []

    def __call__(self, status):
        return getattr(self, status.replace(" ", "_"))()

    def created(self):
        container = self.runtime.id()
        self.runtime("create", "-b", self.bundle(sleeper), container)
        return container

    def running(self):
        container = self.runtime.id()
        self.runtime("run", "-d", "-b", self.bundle(sleeper), container)
        return container

    def paused(self):
        container = self.running()
        self.runtime("pause", container)
        return container

    def stopped(self):
        def change(config):
            config["process"]["args"] = ["true"]

        container = self.runtime.id()
        self.runtime("run", "--keep", "-b", self.bundle(change), container)
        return container

    def creating(self):
        """A container whose creator waits for a hook that does not end."""
        told = self.directory / "told"
        os.mkfifo(told)

        def change(config):
            sleeper(config)
            script = f"echo > {told}; exec sleep 1000"
            config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}

        container = self.runtime.id()
        command = self.runtime.command("create", "-b", self.bundle(change), container)
        self.creators.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        told.read_text()
        return container

    def unknown(self):
        return self.runtime.id()

    def damaged(self):
        container = self.running()
        (self.runtime.root / container / "state.json").write_text('{"version": ')
        return container

    def other_version(self):
        container = self.running()
        path = self.runtime.root / container / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
        return container

    def clean(self):
        self.runtime.clean()
        for creator in self.creators:
            creator.wait(timeout=30)


@pytest.fixture
def containers(runtime, bundle, tmp_path):
    made = Containers(runtime, bundle, tmp_path)
    yield made
    made.clean()


def status_of(runtime, container):
    done = runtime("state", container, check=False)
    return json.loads(done.stdout)["status"] if done.returncode == 0 else ""


def command(verb, container, bundle, images):
    """Return the words of the command line for a row of the table."""
    places = {"ID": container, "BUNDLE": bundle, "IMAGES": images, "NEW": images.with_name("new")}
    return [places.get(word, word) for word in VERBS[verb]]


@pytest.mark.parametrize(("verb", "status", "expected"), CELLS)
def test_verb_on_status(runtime, containers, bundle, criu, images, verb, status, expected):
    container = containers(status)
    before = status_of(runtime, container)
    done = runtime(*command(verb, container, bundle(sleeper), images), env=criu.environment, check=False)
    if expected == OK:
        assert done.returncode == 0, done.stderr
        after = AFTER.get((verb, status), before)
        if verb in _SOON:
            until(lambda: status_of(runtime, container) == after, after)
        assert status_of(runtime, container) == after
        return
    assert done.returncode == (255 if verb.startswith("exec") else 1)
    assert expected in done.stderr
    # An operation that is refused has no effect (runtime.md#operations).
    assert status_of(runtime, container) == before


@pytest.mark.parametrize("status", STATUSES)
def test_list_goes_on_where_a_state_cannot_be_read(runtime, containers, status):
    container, other = containers(status), containers.running()
    done = runtime("list", "--quiet")
    assert other in done.stdout.split()
    readable = status not in ("unknown", "damaged", "other version")
    assert (container in done.stdout.split()) == readable
    assert (f"load container {container}" in done.stderr) == (status in ("damaged", "other version"))


def cgroups_of(container):
    # Not by glob, which fails where a group goes away meanwhile.
    return [Path(top, name) for top, names, _ in os.walk("/sys/fs/cgroup") for name in names if container in name]


@pytest.mark.parametrize("status", STATUSES)
def test_delete_by_force_leaves_nothing(runtime, containers, status):
    container = containers(status)
    assert bool(cgroups_of(container)) == (status != "unknown")
    runtime("delete", "--force", container)
    assert not cgroups_of(container)
    assert not (runtime.root / container).exists()


@pytest.mark.parametrize("status", ["damaged", "other version"])
def test_the_error_about_a_damaged_state_names_file_and_remedy(runtime, containers, status):
    container = containers(status)
    done = runtime("state", container, check=False)
    assert f"{runtime.root}/{container}/state.json" in done.stderr
    assert f"delete --force {container}" in done.stderr


def test_delete_by_force_goes_on_when_both_records_of_a_container_are_damaged(runtime, containers):
    container = containers.created()
    cgroups = cgroups_of(container)
    pids = {int(word) for group in cgroups for word in (group / "cgroup.procs").read_text().split()}
    for name in ("state.json", "first.json"):
        (runtime.root / container / name).write_text("")
    done = runtime("delete", "--force", container)
    assert "are left" in done.stderr
    assert not (runtime.root / container).exists()
    for pid in pids:
        os.kill(pid, 9)
    for group in cgroups:
        wait_until_empty(group)
        group.rmdir()


def wait_until_empty(group):
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            with open(os.pidfd_open(int(pid))) as pidfd:
                select.select([pidfd], [], [], 10)
        except ProcessLookupError:
            continue


RUNC = "/usr/sbin/runc"
RUNC_STATUSES = ("created", "running", "paused", "stopped", "unknown")


@pytest.mark.skipif(not os.path.exists(RUNC), reason="runc is not installed")
@pytest.mark.parametrize("status", RUNC_STATUSES)
def test_verbs_succeed_and_fail_as_with_runc(runtime, containers, bundle, criu, images, status, subtests, pyruntime):
    def runc_config(config):
        config["ociVersion"] = "1.0.2"

    original, containers.bundle = containers.bundle, lambda change: bundle(lambda c: (change(c), runc_config(c)))
    for verb in VERBS:
        if (verb, status) in NOT_AS_RUNC:
            continue
        with subtests.test(verb=verb):
            runtime.program = Path(RUNC)
            try:
                container = containers(status)
                words = command(verb, container, original(runc_config), images)
                succeeded = runtime(*words, env=criu.environment, check=False).returncode == 0
                runtime("delete", "--force", container, check=False)
            finally:
                runtime.program = pyruntime
            assert succeeded == (MATRIX[verb][STATUSES.index(status)] == OK)
