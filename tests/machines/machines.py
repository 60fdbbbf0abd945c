"""A machine: a release of Debian, or this host's with another Python, in which the project is built and tested."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import releases

ENTER = releases.HERE / "enter.sh"
# Where nobody but root may go: tests of ordinary users have to do without.
PLACE = "root/p"
# What builds and tests leave in the project's directory, and what everywhere below it.
LEFT = (".cache", ".venv", ".git", "build", "dist")
LEFT_ANYWHERE = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache", ".hypothesis")


def _left(folder: str, names: list[str]) -> set[str]:
    """Return those of `names` in `folder` that are no part of the project."""
    return LEFT_ANYWHERE(folder, names) | ({*LEFT} if Path(folder) == releases.PROJECT else set())


@dataclass
class Machine:
    """One kind of machine.

    name     of the machine, and of its log
    release  of Debian; "" for this host's root filesystem
    python   path of the interpreter; "" for the release's own
    targets  what make is called with after `make run`, a call each
    shown    directory of the host -> where the machine shows it
    """

    name: str
    release: str = ""
    python: str = ""
    targets: tuple[tuple[str, ...], ...] = ()
    shown: dict[Path, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The root filesystem that is entered."""
        return releases.CACHE / self.name / "root" if self.release else Path("/")

    @property
    def project(self) -> Path:
        """The project's directory, as the host has it."""
        return self.root / PLACE if self.release else releases.CACHE / self.name / "p"

    @property
    def log(self) -> Path:
        """What is said in the machine."""
        return releases.CACHE / f"{self.name}.log"

    @property
    def reports(self) -> Path:
        """What its tests report."""
        return self.project / "reports"

    def make(self) -> None:
        """Make the root filesystem and put the project into it, both as if nobody had been there before."""
        self.remove()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            if self.release:
                releases.make(self.release, self.root, log.fileno())
        shutil.copytree(releases.PROJECT, self.project, symlinks=True, ignore=_left)
        # Programs in Go, which take minutes to build and are the same everywhere: what there is, is taken.
        for built in (releases.PROJECT / ".cache").glob("containerd-*/bin"):
            shutil.copytree(built, self.project / built.relative_to(releases.PROJECT))

    def remove(self) -> None:
        """Remove what `make` has made."""
        shutil.rmtree(releases.CACHE / self.name, ignore_errors=True)

    def call(self, *words: str, limit: float, **variables: str) -> None:
        """Run a command in the project's directory in the machine; raise AssertionError if it fails.

        limit      seconds until it is ended
        variables  of its environment
        """
        shown = dict(self.shown)
        if self.release:
            for name, inside in (("archives", "/var/cache/apt/archives"), ("pip", "/root/.cache/pip")):
                (releases.CACHE / name).mkdir(exist_ok=True)
                shown[releases.CACHE / name] = inside
        place = f"/{PLACE}" if self.release else self.project
        assignments = [f"{name}={value}" for name, value in {**releases.environment(), **variables}.items()]
        command = [
            *("sh", ENTER, f"pyruntime-{self.name}-{os.getpid()}", self.root),
            "\n".join(f"{outside} {inside}" for outside, inside in shown.items()),
            *("env", "-C", place, *assignments, *words),
        ]
        with self.log.open("ab") as log:
            log.write(f"== {' '.join(words)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with it all that is in the machine
                status = process.wait()
        text = self.log.read_text(errors="replace")
        assert status == 0, f"{self.name}: {' '.join(words)}: status {status}\n{text[-4000:]}"

    def make_targets(self) -> Iterator[tuple[str, ...]]:
        """Yield the words for make: `run` first, as README has it."""
        python = (f"PYTHON={self.python}",) if self.python else ()
        for words in (("run",), *self.targets):
            yield *words, *python
