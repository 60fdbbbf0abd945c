"""How the tests call: a caller's client and daemon, what they need, and what they leave behind."""

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

PATIENCE = 120  # seconds for something that must happen
IMAGE = "docker.io/library/box:latest"
DEBIAN = "docker.io/library/debian-from-debootstrap:latest"

# Where Debian's packages put programs: what else a machine has of that name is not what is tested.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# Program -> the Debian package that has it.
PACKAGES = {
    "buildah": "buildah",
    "catatonit": "catatonit",
    "conmon": "conmon",
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "docker": "docker.io",
    "docker-compose": "docker-compose",
    "dockerd": "docker.io",
    "ip": "iproute2",
    "newuidmap": "uidmap",
    "podman": "podman",
    "runc": "runc",
    "script": "bsdutils",
    "skopeo": "skopeo",
    "umoci": "umoci",
}


def need(*programs: str) -> None:
    """Skip unless this is root and `programs` are installed."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    missing = {PACKAGES[program] for program in programs if not shutil.which(program, path=PATH)}
    if missing:
        pytest.skip(f"needs the Debian package {', '.join(sorted(missing))}")


def until(condition, what: str):
    """Wait until `condition()` is true, and return its value; fail the test when that does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


class Caller:
    """A program that calls the runtime: caller("run", "--rm", …) runs it to the end.

    words      the beginning of its command line
    options    what follows the verbs that take it: {"run": ["--rm"]}
    directory  where it is run
    """

    def __init__(self, words, options=None, environment=None, directory=None):
        self.words = [str(word) for word in words]
        self.options = options or {}
        self.environment = {**os.environ, "PATH": PATH, **(environment or {})}
        self.directory = directory

    def command(self, *words) -> list[str]:
        verb, *rest = map(str, words)
        return [*self.words, verb, *map(str, self.options.get(verb, ())), *rest]

    def __call__(self, *words, status=0, terminal=False, **options) -> "subprocess.CompletedProcess[str]":
        """Run it; an exit status other than `status` fails the test, unless that is None.

        With `terminal` it has a terminal, made by script(1).
        """
        command = self.command(*words)
        options.setdefault("timeout", 180)
        options.setdefault("cwd", self.directory)
        with contextlib.ExitStack() as closed:
            if terminal:
                need("script")
                command = ["script", "-qec", shlex.join(command), "/dev/null"]
            if terminal and "input" not in options:
                # An input that does not end: script(1) types a NUL where its input ends.
                reading, writing = os.pipe()
                closed.callback(os.close, reading)
                closed.callback(os.close, writing)
                options.setdefault("stdin", reading)
            elif "input" not in options:
                options.setdefault("stdin", subprocess.DEVNULL)
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment, **options)
        assert status in (None, done.returncode), f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, *words) -> "subprocess.Popen[str]":
        """Start it with pipes for stdin, stdout and stderr."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*words),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=self.environment,
            cwd=self.directory,
        )


class Daemon:
    """A daemon in the background; its output goes to a file."""

    def __init__(self, command, log: Path, path: str = PATH) -> None:
        self.log = log
        self.path = path
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PATH": path},
                start_new_session=True,
            )

    def answers(self, *command) -> bool:
        """Tell whether `command`, which asks the daemon something, succeeds."""
        assert self.process.poll() is None, f"the daemon ended\n{self.log.read_text()[-4000:]}"
        environment = {**os.environ, "PATH": self.path}
        command = [str(word) for word in command]
        return subprocess.run(command, capture_output=True, check=False, env=environment).returncode == 0

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def unmount_below(place: Path) -> None:
    """Unmount what a caller itself keeps mounted below `place`, its storage and network namespaces."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{place}/")]):
        subprocess.run(["umount", mount], check=True)


def lives(pid: int, program: str) -> bool:
    """Tell whether the process `pid` runs `program`."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().startswith(program)
    except OSError:
        return False


# ---- Cgroups ----


def limit(pid: int, controller: str, v1: str, v2: str) -> str:
    """Return what is written in the cgroup of process `pid`: file `v1` of `controller`, or file `v2`."""
    groups = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    if controller in groups:
        return Path(f"/sys/fs/cgroup/{controller}{groups[controller]}/{v1}").read_text().strip()
    return Path(f"/sys/fs/cgroup{groups['']}/{v2}").read_text().strip()


def remove_parent_cgroup(name: str) -> None:
    """Remove the group `name`, which a caller leaves behind in each hierarchy; it must have no container in it."""
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
    groups = [root / name for root in roots if (root / name).is_dir()]
    left = [str(child) for group in groups for child in group.iterdir() if child.is_dir() and child.name != "conmon"]
    for group in groups:
        for path, _, _ in os.walk(group, topdown=False):
            until(lambda path=path: _removed(path), f"the processes in {path} to end")
    assert not left, f"cgroups left behind: {left}"


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


# ---- State ----


def containers_in(root: Path) -> list[str]:
    """Return the ids of the containers in pyruntime's state root."""
    return [place.name for place in root.iterdir() if (place / "state.json").exists()] if root.is_dir() else []
