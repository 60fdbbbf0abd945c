"""The runtimes that are compared, and what each does in the benchmark."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import clock

UNIFIED = Path("/sys/fs/cgroup/unified")


class Runtime:
    """A runtime with a state directory of its own."""

    def __init__(self, name: str, program: str, root: Path) -> None:
        """name: as users call it; program: its path; root: the directory for its states"""
        self.name = name
        self.program = program
        self.root = root

    def words(self, *arguments: "str | Path") -> "list[str]":
        """Return the command line for these arguments."""
        return [self.program, "--root", str(self.root), *map(str, arguments)]

    def do(self, *arguments: "str | Path") -> clock.Cost:
        """Run a verb; return what it cost."""
        return clock.run(self.words(*arguments))

    def version(self) -> str:
        """Return what `--version` says first."""
        said = subprocess.run([self.program, "--version"], check=True, capture_output=True, text=True).stdout
        return said.splitlines()[0].split()[-1]

    def container(self, name: str) -> str:
        """Return the id of a container: no other runtime has one of this id, and so none meets its cgroups."""
        return f"{self.name}-{name}"

    def run(self, bundle: Path, name: str) -> "dict[str, clock.Cost]":
        """Run the bundle's process to its end."""
        return {"run": self.do("run", "--bundle", bundle, self.container(name))}

    def create(self, bundle: Path, name: str) -> "tuple[clock.Cost, int]":
        """Create a container; return what it cost with its init, and the pid of that."""
        container = self.container(name)
        pid_file = self.root.with_name(f"{container}.pid")
        cost = self.do("create", "--bundle", bundle, "--pid-file", pid_file, container)
        pid = int(pid_file.read_text())
        return cost + clock.used_by(pid), pid

    def live(self, bundle: Path, name: str) -> "dict[str, clock.Cost]":
        """Lead one container, whose process sleeps, through every hot verb, and measure each."""
        create, pid = self.create(bundle, name)
        container = self.container(name)
        before = clock.used_by(pid)
        start = self.do("start", container)
        costs = {
            "create": create,
            "start": start + (clock.used_by(pid) - before),
            "state": self.do("state", container),
            "exec": self.do("exec", container, "/bin/true"),
            "kill": self.do("kill", container, "KILL"),
        }
        clock.wait_for_exit(pid)
        costs["delete"] = self.do("delete", container)
        return costs

    def lifecycle(self, bundle: Path, name: str) -> "dict[str, clock.Cost]":
        """Create, start and delete a container whose process ends by itself; return the sum of the three.

        What init uses from `start` on is not in it: by then it may be gone.
        """
        create, pid = self.create(bundle, name)
        container = self.container(name)
        start = self.do("start", container)
        clock.wait_for_exit(pid)
        return {"create + start + delete": create + start + self.do("delete", container)}


def installed(pyruntime: Path, states: Path) -> "list[Runtime]":
    """Return pyruntime, runc, crun, and what BENCH_PEERS adds: "NAME=PATH …". Ends the program where one is missing."""
    programs = {"pyruntime": str(pyruntime), "runc": shutil.which("runc"), "crun": shutil.which("crun")}
    for peer in os.environ.get("BENCH_PEERS", "").split():
        name, _, path = peer.partition("=")
        programs[name] = path
    missing = [name for name, path in programs.items() if not path or not Path(path).exists()]
    if missing:
        sys.exit(f"bench: not installed: {', '.join(missing)}")
    return [Runtime(name, str(path), states / name) for name, path in programs.items()]


def without_hybrid() -> None:
    """Start again where only the v1 hierarchies are mounted, on a hybrid host: Debian's crun refuses to run there.

    It does so when the unified hierarchy beside the others offers a controller. The mount namespace is our own.
    """
    controllers = UNIFIED / "cgroup.controllers"
    if controllers.exists() and controllers.read_text().strip():
        # The empty tmpfs takes what crun then writes to that directory.
        script = f'umount {UNIFIED} && mount -t tmpfs none {UNIFIED} && exec "$@"'
        command = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", sys.executable, *sys.argv]
        os.execvp(command[0], command)
