"""What is attacked: the verbs, each with what must be there before, and the configurations."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bundle as bundles

Config = dict[str, Any]
HOOK = [{"path": "/bin/true"}]
INSIDE = [{"path": "/probe"}]
REPORT_FD = 3  # where there is a terminal, which the report is not to go through


# ---- Configurations ----


def plain(config: Config) -> None:
    """What `spec` writes, with limits."""
    config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    config["process"]["oomScoreAdj"] = 100
    config["linux"]["resources"]["memory"] = {"limit": 1 << 28}
    config["linux"]["resources"]["pids"] = {"limit": 50}


def full(config: Config) -> None:
    """Hooks of every kind, a filter, and what else the first process does to itself."""
    plain(config)
    config["process"]["user"]["umask"] = 0o27
    config["process"]["rlimits"].append({"type": "RLIMIT_CORE", "hard": 0, "soft": 0})
    config["domainname"] = "example"
    config["mounts"] += [
        {"destination": "/bound", "type": "bind", "source": "/usr", "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
    ]
    config["hooks"] = {
        kind: INSIDE if kind == "startContainer" else HOOK
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    config["linux"]["sysctl"] = {"net.ipv4.ping_group_range": "0 1000"}
    config["linux"]["resources"]["cpu"] = {"quota": 90000, "period": 100000}
    config["linux"]["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }


def user(config: Config) -> None:
    """The same in a user namespace."""
    full(config)
    linux = config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    # Which nobody may make in a user namespace.
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    del linux["devices"]


CONFIGURATIONS = {"plain": plain, "full": full, "user": user}


# ---- Verbs ----


@dataclass(frozen=True)
class Scenario:
    """A verb to attack.

    needs     the status of the container before it: "", "created", "running", "paused" or "stopped"
    words     the command line; {id} is the container, and the other names are of `Place.names`
    reuses    the container can be used again afterwards
    follows   its init is followed, too: it goes on because of the verb
    then      a verb that is called afterwards if all went well: its container is to be what was asked for
    terminal  the program gets a terminal, and reports on a descriptor of its own
    waits     the program stays when it has reported, for nobody waits for it
    """

    verb: str
    needs: str
    words: str
    reuses: bool = False
    follows: bool = False
    then: str = ""
    terminal: bool = False
    waits: bool = False
    configurations: tuple[str, ...] = ("full",)

    @property
    def reports(self) -> bool:
        """Tell whether a program of a container runs because of the verb."""
        return bool(self.then) or self.verb.split("-")[0] in ("run", "exec", "start")


EVERY = tuple(CONFIGURATIONS)
EXEC = "exec --env A=B {options} {{id}} /probe {fd}"
SCENARIOS = [
    Scenario("create", "", "create -b {bundle} --pid-file {pid} {id}", then="start", waits=True, configurations=EVERY),
    Scenario(
        "create-terminal",
        "",
        "create -b {bundle} --console-socket {console} --preserve-fds 1 {id}",
        then="start",
        terminal=True,
        waits=True,
    ),
    Scenario("start", "created", "start {id}", follows=True, waits=True, configurations=EVERY),
    Scenario("run", "", "run -b {bundle} {id}", configurations=EVERY),
    Scenario("run-detached", "", "run -d -b {bundle} {id}", waits=True, configurations=EVERY),
    Scenario("run-terminal", "", "run -b {bundle} --preserve-fds 1 {id}", terminal=True),
    Scenario("exec", "running", EXEC.format(options="", fd=1), reuses=True, configurations=EVERY),
    Scenario("exec-detached", "running", EXEC.format(options="-d --pid-file {pid}", fd=1), reuses=True),
    Scenario("exec-terminal", "running", EXEC.format(options="-t --preserve-fds 1", fd=3), reuses=True, terminal=True),
    Scenario(
        "exec-detached-terminal",
        "running",
        EXEC.format(options="-d -t --console-socket {console} --preserve-fds 1", fd=3),
        reuses=True,
        terminal=True,
    ),
    Scenario("kill", "running", "kill {id} KILL"),
    Scenario("pause", "running", "pause {id}"),
    Scenario("resume", "paused", "resume {id}"),
    Scenario("update", "running", "update --memory 200m --pids-limit 40 --cpu-quota 80000 {id}", reuses=True),
    Scenario("delete", "stopped", "delete {id}"),
    Scenario("delete-force", "running", "delete --force {id}", configurations=EVERY),
    Scenario("checkpoint", "running", "checkpoint --leave-running --image-path {images} {id}", reuses=True),
]


# ---- Where they run ----


class Place:
    """A directory with a root filesystem, a bundle for each kind of configuration, and a --root of its own.

    tools  the directory with the container's program
    """

    def __init__(self, path: Path, runtime: Path, tools: Path) -> None:
        path.mkdir(parents=True)
        # Root of a user namespace has no special rights here.
        for folder in (path, *path.parents[:-1]):
            folder.chmod(folder.stat().st_mode | 0o111)
        self.path = path
        self.runtime = runtime
        self.root = path / "root"
        self.console = path / "console"
        self._rootfs = path / "rootfs"
        bundles.make_rootfs(self._rootfs)
        shutil.copy(tools / "probe", self._rootfs / "probe")
        (self._rootfs / "bound").mkdir()
        # Whoever asks for a terminal connects and sends; nobody needs to answer.
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.console))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self.environment = {**os.environ, **self._criu()}

    def _criu(self) -> dict[str, str]:
        """Return the environment with a stand-in for CRIU, so that checkpoint can be attacked where no CRIU works."""
        folder = self.path / "criu"
        folder.mkdir()
        fake = Path(__file__).parents[1] / "integration/fake_criu.py"
        (folder / "criu").write_text(f'#!/bin/sh\nexec {sys.executable} {fake} "$@"\n')
        (folder / "criu").chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_CRIU": str(folder)}

    def bundle(self, scenario: Scenario, kind: str) -> Path:
        """Return the bundle with the configuration `kind` for the scenario."""
        path = self.path / f"{kind}-{scenario.verb}"
        if path.exists():
            return path

        def change(config: Config) -> None:
            CONFIGURATIONS[kind](config)
            terminal = scenario.terminal and not scenario.needs
            config["process"]["terminal"] = terminal
            stays = scenario.waits or scenario.needs
            config["process"]["args"] = ["/probe", str(REPORT_FD if terminal else 1), *(["stay"] if stays else [])]

        return bundles.make_bundle(path, self.runtime, change, self._rootfs)

    def command(self, words: str, scenario: Scenario, kind: str, container: str) -> list[str]:
        """Return the command line for the verb `words` of the scenario."""
        names = {
            "id": container,
            "bundle": str(self.bundle(scenario, kind)),
            "pid": str(self.path / "pid"),
            "console": str(self.console),
            "images": str(self.path / "images"),
        }
        shared = [str(self.runtime), "--root", str(self.root)]
        return [*shared, *(word.format(**names) for word in words.split())]

    def forget_terminals(self) -> None:
        """Close the terminals that were sent since."""
        while True:
            try:
                self._listener.accept()[0].close()
            except BlockingIOError:
                return

    def made(self, container: str) -> list[str]:
        """Return what there is of `container` on the host: files, cgroups, mounts."""
        files = [str(path) for path in self.root.rglob("*")] if self.root.exists() else []
        # Those of version 1 have one directory each; where there is version 2 alone, its root is the hierarchy.
        top = Path("/sys/fs/cgroup")
        hierarchies = [top, *(path for path in top.iterdir() if (path / "cgroup.procs").exists())]
        groups = [f"{path}/{name}" for path in hierarchies for name in _names(path) if container in name]
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.path) in line]
        return [*files, *groups, *mounts]

    def call(self, *words: str, streams: "tuple[int, int, int] | None" = None) -> "subprocess.CompletedProcess[bytes]":
        """Run a verb undisturbed. Raises subprocess.TimeoutExpired when it is stuck."""
        null = subprocess.DEVNULL
        stdin, stdout, stderr = streams or (null, null, subprocess.PIPE)
        return subprocess.run(
            [str(self.runtime), "--root", str(self.root), *words],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            timeout=60,
            check=False,
            env=self.environment,
        )

    def pid(self, container: str) -> int:
        """Return the pid of the container's init, as its state file has it."""
        return int(json.loads((self.root / container / "state.json").read_text())["pid"])


def _names(directory: Path) -> list[str]:
    """Return what is in a directory; nothing when it has gone, as a cgroup of another worker's."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def pairs() -> Iterator[tuple[Scenario, str]]:
    """Yield every scenario with each of its configurations."""
    for scenario in SCENARIOS:
        for kind in scenario.configurations:
            yield scenario, kind
