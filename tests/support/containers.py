"""Real containers, made from the configuration of `spec` with some changes, and what a test looks at in them."""

import functools
import json
import os
import time
from pathlib import Path

import bundle as bundles

# Seconds for something that must happen: an emulated machine is slow, and in a wrong runtime it never happens.
PATIENCE = int(os.environ.get("PYRUNTIME_PATIENCE") or 60)
CGROUPS = Path("/sys/fs/cgroup")


def until(condition, what):
    """Wait until `condition()` is true, and return its value; fail the test when that does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
    return value


def group_of(pid):
    """Return the directory of the cgroup of process `pid` in the unified hierarchy of a host that has only that."""
    return CGROUPS / Path(f"/proc/{pid}/cgroup").read_text().split("::")[1].strip().lstrip("/")


def group_below(pid, controller):
    """Return the cgroup of process `pid` in the hierarchy of a controller, as a path below the hierarchy's root.

    controller  "" is the unified hierarchy
    """
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    raise AssertionError(f"no hierarchy of {controller!r}")


class Container:
    """A created container, made by `containers`."""

    def __init__(self, containers, name, bundle):
        self.containers = containers
        self.id = name
        self.bundle = bundle

    def _call(self, verb, *words, **options):
        return self.containers.runtime(*self.containers.driver, verb, *words, **options)

    def state(self):
        """Return the state as `state` prints it."""
        return json.loads(self._call("state", self.id).stdout)

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
        return self._call("start", self.id, **options)

    def kill(self, signal="KILL", **options):
        return self._call("kill", self.id, signal, **options)

    def exec(self, *words, **options):
        return self._call("exec", self.id, *words, **options)

    def delete(self, *options, **more):
        return self._call("delete", *options, self.id, **more)

    def wait(self, status="stopped"):
        """Wait until the container has `status`."""
        until(lambda: self.status == status, f"status {status}")

    def state_file(self):
        """Return pyruntime's own record of the container."""
        return json.loads((self.containers.runtime.root / self.id / "state.json").read_text())

    def cgroups(self):
        """Return the container's cgroups: controller -> directory on the host, "" for the unified hierarchy."""
        return {name: Path(path) for name, path in self.state_file()["cgroup"]["paths"].items()}

    @functools.cached_property
    def group(self):
        """The directory of the container's cgroup where the host has cgroup v2 alone; first asked while it runs."""
        return group_of(self.pid)

    def value(self, name):
        """Return the content of a file of that cgroup."""
        return (self.group / name).read_text().strip()


class Containers:
    """Makes the containers of a test. `changes` are functions that change the configuration in place (changes.py).

    driver  the program's options that choose the cgroup driver
    """

    def __init__(self, runtime, default, rootfs, folder, driver=()):
        self.runtime = runtime
        self.default = default
        self.rootfs = rootfs
        self.folder = folder
        self.driver = driver
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
        return self.runtime(*self.driver, "run", "-b", path, self.runtime.id(), check=check, **options)

    def inside(self, script, *changes, own=False, **options):
        """Return what `script` prints in a container, which must end with status 0."""
        return self.run(f"set -e\n{script}", *changes, own=own, **options).stdout.rstrip("\n")

    def create(self, *changes, script="sleep 1000", own=False, name=None, words=()):
        """Return a created container that would run `script`."""
        path = self.bundle(script, *changes, own=own)
        name = name or self.runtime.id()
        self.runtime(*self.driver, "create", "-b", path, *words, name)
        return Container(self, name, path)

    def start(self, *changes, script="sleep 1000", own=False, name=None):
        """Return a running container."""
        container = self.create(*changes, script=script, own=own, name=name)
        container.start()
        return container

    def refused(self, *changes, verb="create", script="true", own=False):
        """Return what is said when a container cannot be made; fail the test when anything of it is left."""
        path = self.bundle(script, *changes, own=own)
        name = self.runtime.id()
        done = self.runtime(*self.driver, verb, "-b", path, name, check=False)
        assert done.returncode == 1, f"status {done.returncode}\n{done.stdout}{done.stderr}"
        self.nothing_left(name)
        return done.stderr

    def nothing_left(self, name):
        """Fail the test unless nothing of container `name` is left: no state, no cgroup, no mount, no process."""
        assert not (self.runtime.root / name).exists()
        assert name not in Path("/proc/self/mountinfo").read_text()
        groups = [path for path, names, _ in os.walk(CGROUPS) if any(name in one for one in names)]
        assert not groups
        for process in Path("/proc").glob("[0-9]*"):
            try:
                # One that has ended, and waits for whoever adopted it, has no command line.
                # The cgroup of others may have any name, in UTF-8 or not.
                assert (
                    os.fsencode(name) not in (process / "cgroup").read_bytes() or not (process / "cmdline").read_bytes()
                )
            except OSError:
                continue  # it ended meanwhile


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
