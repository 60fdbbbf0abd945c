"""What the conformance tests share: real containers, made from the configuration of `spec` with some changes.

Each test carries the clause it is about: @pytest.mark.clause("config-linux.md#devices").
"""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import bundle as bundles
from clauses import CLAUSES

PATIENCE = 20  # seconds for something that must happen


def pytest_collection_modifyitems(items):
    """Refuse a test here without a clause, or with one that the spec does not have."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            names = [name for marker in item.iter_markers("clause") for name in marker.args]
            wrong = [name for name in names if name not in CLAUSES]
            if not names or wrong:
                raise pytest.UsageError(f"{item.nodeid}: no clause of the spec: {wrong or 'none is named'}")


@pytest.fixture(autouse=True)
def _privilege():
    if os.geteuid() != 0:
        pytest.skip("needs root")


def until(condition, what):
    """Wait until `condition()` is true, and return its value; fail the test when that does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
    return value


@pytest.fixture(scope="session", autouse=True)
def _own_directory(tmp_path_factory):
    global _own  # for host_mounts, which is called from everywhere
    _own = f"{tmp_path_factory.getbasetemp()}/"


_own = ""


def host_mounts():
    """Return the mount table of the host, without the places where others on this machine mount meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = ((line.split()[4], line) for line in lines)
    return [
        line for place, line in places if place.startswith(_own) or not place.startswith(("/run/", "/tmp/", "/var/"))
    ]


class Container:
    """A created container."""

    def __init__(self, runtime, name, bundle):
        self.runtime = runtime
        self.id = name
        self.bundle = bundle

    def state(self):
        """Return the state as `state` prints it."""
        return json.loads(self.runtime("state", self.id).stdout)

    @property
    def status(self):
        return self.state()["status"]

    @property
    def pid(self):
        return self.state()["pid"]

    def proc(self, name=""):
        """Return the path of a file in /proc/PID of the container's process."""
        return Path(f"/proc/{self.pid}/{name}")

    def path(self, inside):
        """Return where the container's path `inside` can be looked at from the host."""
        return Path(f"/proc/{self.pid}/root") / inside.lstrip("/")

    def start(self, **options):
        return self.runtime("start", self.id, **options)

    def kill(self, signal="KILL", **options):
        return self.runtime("kill", self.id, signal, **options)

    def delete(self, *options, **more):
        return self.runtime("delete", *options, self.id, **more)

    def wait(self, status="stopped"):
        """Wait until the container has `status`."""
        until(lambda: self.status == status, f"status {status}")

    def cgroups(self):
        """Return the container's cgroups: controller -> directory on the host."""
        return self.state_file()["cgroup"]

    def state_file(self):
        """Return pyruntime's own record of the container."""
        return json.loads((self.runtime.root / self.id / "state.json").read_text())


class Containers:
    """Makes the containers of a test. `changes` are functions that change the configuration in place."""

    def __init__(self, runtime, default, rootfs, folder):
        self.runtime = runtime
        self.default = default
        self.rootfs = rootfs
        self.folder = folder
        self.count = 0

    def bundle(self, script, *changes, own=False):
        """Return a new bundle whose process is `script`, on the shared root filesystem or on its `own`."""
        self.count += 1
        path = self.folder / f"bundle{self.count}"
        path.mkdir()
        config = json.loads(self.default)
        config["process"].update(args=["sh", "-c", script], terminal=False)
        if own:
            bundles.make_rootfs(path / "rootfs")
        else:
            config["root"]["path"] = str(self.rootfs)
        for change in changes:
            change(config)
        (path / "config.json").write_text(json.dumps(config))
        return path

    def run(self, script, *changes, own=False, check=True, **options):
        """Run `script` in a container to its end; return the completed process of `run`."""
        path = self.bundle(script, *changes, own=own)
        return self.runtime("run", "-b", path, self.runtime.id(), check=check, **options)

    def inside(self, script, *changes, own=False, **options):
        """Return what `script` prints in a container, which must end with status 0."""
        return self.run(f"set -e\n{script}", *changes, own=own, **options).stdout.rstrip("\n")

    def create(self, *changes, script="sleep 1000", own=False, name=None, words=()):
        """Return a created container that would run `script`."""
        path = self.bundle(script, *changes, own=own)
        name = name or self.runtime.id()
        self.runtime("create", "-b", path, *words, name)
        return Container(self.runtime, name, path)

    def start(self, *changes, script="sleep 1000", own=False):
        """Return a running container."""
        container = self.create(*changes, script=script, own=own)
        container.start()
        return container

    def refused(self, *changes, verb="create", script="true", own=False):
        """Return what is said when a container cannot be made; fail the test when anything of it is left."""
        path = self.bundle(script, *changes, own=own)
        name = self.runtime.id()
        done = self.runtime(verb, "-b", path, name, check=False)
        assert done.returncode == 1, f"status {done.returncode}\n{done.stdout}{done.stderr}"
        self.nothing_left(name)
        return done.stderr

    def nothing_left(self, name):
        """Fail the test unless nothing of container `name` is left: no state, no cgroup, no mount, no process."""
        assert not (self.runtime.root / name).exists()
        assert name not in Path("/proc/self/mountinfo").read_text()
        groups = [path for path, names, _ in os.walk("/sys/fs/cgroup") if any(name in one for one in names)]
        assert not groups
        for process in Path("/proc").glob("[0-9]*"):
            try:
                # One that has ended, and waits for whoever adopted it, has no command line.
                assert name not in (process / "cgroup").read_text() or not (process / "cmdline").read_bytes()
            except OSError:
                continue  # it ended meanwhile


@pytest.fixture(scope="session")
def default_config(pyruntime, tmp_path_factory):
    """The text of the configuration that `spec` writes."""
    folder = tmp_path_factory.mktemp("default")
    subprocess.run([pyruntime, "spec", "--bundle", folder], check=True)
    return (folder / "config.json").read_text()


@pytest.fixture
def containers(runtime, default_config, rootfs, tmp_path):
    """See Containers."""
    return Containers(runtime, default_config, rootfs, tmp_path)


@pytest.fixture
def inside(containers):
    """inside(script, *changes) runs a shell script in a container and returns what it prints."""
    return containers.inside


@pytest.fixture
def mounted(inside):
    """mounted(path, *changes) returns the last mount at `path` in a container, as Mount."""

    def look(path, *changes, own=False):
        found = [mount for mount in mounts(inside("cat /proc/self/mountinfo", *changes, own=own)) if mount.path == path]
        assert found, f"nothing is mounted at {path}"
        return found[-1]

    return look


class Mount:
    """A line of /proc/self/mountinfo (proc(5))."""

    def __init__(self, line):
        head, _, tail = line.partition(" - ")
        fields = head.split(" ")
        self.number, self.parent, self.root, self.path = fields[0], fields[1], fields[3], fields[4]
        self.options = set(fields[5].split(","))
        self.propagation = {field.split(":")[0] for field in fields[6:]}
        self.peers = dict(field.split(":") for field in fields[6:] if ":" in field)
        self.type, self.source, options = tail.split(" ")
        self.super_options = set(options.split(","))


def mounts(mountinfo):
    """Return the mounts of a mountinfo text."""
    return [Mount(line) for line in mountinfo.splitlines()]
