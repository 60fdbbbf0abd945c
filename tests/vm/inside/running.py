"""Running containers, and where their cgroups are: what the tests in the machine share."""

import json
import os
import subprocess
import time
from pathlib import Path

import bundle as bundles

PATIENCE = 60  # seconds for something that must happen; the machine is slow
ROOT = Path("/sys/fs/cgroup")


def until(condition, what):
    """Wait until `condition()` is true, and return its value; fail the test when that does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
    return value


def group_of(pid):
    """Return the directory of the cgroup of process `pid`."""
    return ROOT / Path(f"/proc/{pid}/cgroup").read_text().split("::")[1].strip().lstrip("/")


def resources(**values):
    """Set limits beside the device rules of the default configuration."""
    return lambda config: config["linux"].setdefault("resources", {}).update(values)


def linux(**values):
    """Set properties of /linux."""
    return lambda config: config["linux"].update(values)


def process(**values):
    """Set properties of /process."""
    return lambda config: config["process"].update(values)


def with_python(config):
    """Show the machine's /usr in the container, which then has Python; the bundle needs its own root filesystem."""
    options = ["bind", "ro"]
    for place in ("/usr", "/lib", "/lib64"):
        config["mounts"].append({"destination": place, "source": place, "options": options})
    config["root"]["readonly"] = False


class Running:
    """A running container."""

    def __init__(self, runtime, words, name):
        self.runtime, self.words, self.id = runtime, words, name
        self.pid = self.state()["pid"]
        self.group = group_of(self.pid)

    def state(self):
        return json.loads(self.runtime("state", self.id).stdout)

    def value(self, name):
        """Return the content of a file of the container's cgroup."""
        return (self.group / name).read_text().strip()

    def delete(self):
        self.runtime(*self.words, "delete", "--force", self.id)


class Containers:
    """Makes containers through one cgroup driver; `words` are the options of the program that choose it."""

    def __init__(self, runtime, default, rootfs, folder, words=()):
        self.runtime, self.default, self.rootfs, self.folder, self.words = runtime, default, rootfs, folder, words
        self.count = 0

    def _make(self, script, changes, own):
        """Return a new bundle on the shared root filesystem, or on its own."""
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

    def run(self, script, *changes, own=False, check=True):
        """Run `script` to its end; return the completed process."""
        path = self._make(script, changes, own)
        return self.runtime(*self.words, "run", "-b", path, self.runtime.id(), check=check)

    def start(self, *changes, script="sleep 1000", own=False, name=None):
        """Return a running container."""
        path, name = self._make(script, changes, own), name or self.runtime.id()
        self.runtime(*self.words, "create", "-b", path, name)
        self.runtime(*self.words, "start", name)
        return Running(self.runtime, self.words, name)

    def refused(self, *changes):
        """Return what is said when a container cannot be made; nothing of it may be left."""
        name = self.runtime.id()
        done = self.runtime(*self.words, "create", "-b", self._make("true", changes, False), name, check=False)
        assert done.returncode == 1, f"status {done.returncode}\n{done.stdout}{done.stderr}"
        assert not (self.runtime.root / name).exists()
        assert not [place for place, names, _ in os.walk(ROOT) for one in names if name in one]
        return done.stderr


def show(unit, *names, user=()):
    """Return the properties `names` of a systemd unit as `systemctl show` prints them."""
    words = ["systemctl", *user, "show", unit, *(f"--property={name}" for name in names)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines())
