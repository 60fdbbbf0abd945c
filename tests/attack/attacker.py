"""Attacks one scenario at one point after the other, and looks after each whether what must hold does."""

import collections
import hashlib
import itertools
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import report
from injection import ACTIONS, HARMLESS, NO_ERROR, PATIENCE, Injector, Outcome, Point, names
from scenarios import REPORT_FD, Place, Scenario

# A container that is used again is another one from time to time, so that what is left behind has a place to show.
USES = 40
# A line of a difference between two reports.
_OF_A_TERMINAL = re.compile(r"[-+](fd [012]: (a|no) terminal$|mount \S+ /dev/console )")
_FORBIDDEN = ("internal error", "init failed", "Traceback", "MemoryError", "AssertionError")


@dataclass
class Finding:
    """What did not hold at a point.

    kind  "hang", "internal error", "signal", "silence", "less", "lost", "left"
    """

    scenario: str
    point: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.scenario}: {self.point}: {self.text}"


class Attacker:
    """Attacks a scenario with one configuration.

    session  part of every container's name
    """

    def __init__(self, place: Place, tools: Path, scenario: Scenario, kind: str, session: str) -> None:
        self.place = place
        self.scenario = scenario
        self.kind = kind
        self.name = f"{scenario.verb} ({kind})"
        self._injector = Injector(tools, place.path, place.environment)
        self._ids = (f"{session}-{number}" for number in itertools.count())
        self._container = ""
        self._uses = 0
        self._output = place.path / "output"
        self._errors = place.path / "errors"
        self._findings: list[Finding] = []
        self._point = "undisturbed"
        self._expected: list[str] = []
        self.before: list[str] = []  # what was there before; found once, what is left is, too
        self.points: list[Point] = []

    # ---- Before ----

    def prepare(self) -> None:
        """Run the scenario undisturbed: that says what its points are, and what its program reports."""
        reports = []
        for _ in range(2):
            self._prepare_container()
            outcome = self._run(None)
            self._judge(outcome)
            if outcome.status != 0:
                raise AssertionError(f"{self.name}: undisturbed, status {outcome.status}: {self._errors.read_text()}")
            if self.scenario.reports and not _until(self._reported):
                raise AssertionError(f"{self.name}: undisturbed, no report: {self._errors.read_text()}")
            reports.append(self._reported())
            self._end_container()
        # What is kept for all containers, as a compiled filter, is there from now on.
        self.before = self.place.made(self._container)
        if self._findings:
            raise AssertionError("\n".join(map(str, self._findings)))
        self._expected = [line for line in reports[0] if line in reports[1]]
        calls = {(process, call): number for process, call, number in _of_the_runtime(outcome.calls)}
        self.points = [
            Point(process, call, number, action)
            for (process, call), number in sorted(calls.items())
            for action in ACTIONS
            if (name := names().get(number)) not in NO_ERROR and (name, action) not in HARMLESS
        ]

    def _prepare_container(self) -> None:
        """Bring a container to the status that the scenario needs."""
        self._uses += 1
        if self._container and self.scenario.reuses and self._uses < USES:
            return
        if self._container:
            self._end_container()
        self._container, self._uses = next(self._ids), 0
        needs = self.scenario.needs
        if not needs:
            return
        bundle = str(self.place.bundle(self.scenario, self.kind))
        self._must("create" if needs == "created" else "run", *(["-d"] if needs != "created" else []), "-b", bundle)
        if needs == "paused":
            self._must("pause")
        if needs == "stopped":
            self._must("kill", words=("KILL",))
            deadline = time.monotonic() + PATIENCE
            while _runs(self.place.pid(self._container)) and time.monotonic() < deadline:
                time.sleep(0.001)

    def _must(self, verb: str, *options: str, words: tuple[str, ...] = ()) -> None:
        # The program of a container that waits for start has its streams from create. One that runs already reports
        # when it comes to it, and its report is not to be taken for that of the program which the verb runs.
        report = self._output if self.scenario.needs == "created" else os.devnull
        # What the container inherits is not to be a pipe that nobody closes.
        with open(report, "wb") as output, open(self._errors, "wb") as errors:
            streams = (subprocess.DEVNULL, output.fileno(), errors.fileno())
            done = self.place.call(verb, *options, self._container, *words, streams=streams)
        if done.returncode != 0:
            raise RuntimeError(f"{verb}: {self._errors.read_text()}")

    # ---- At a point ----

    def attack(self, point: Point) -> list[Finding]:
        """Run the scenario with the disturbance `point`; return what did not hold."""
        self._findings, self._point = [], str(point)
        self._prepare_container()
        outcome = self._run(point)
        self._judge(outcome, killed=point.action == "kill")
        if self._reported() or self.scenario.reports:
            self._compare(outcome, killed=point.action == "kill")
        if not self.scenario.reuses or self._findings or not self._is_intact(outcome):
            self._end_container()
        return self._findings

    def finish(self) -> list[Finding]:
        """Delete the container that is still there."""
        self._findings = []
        if self._container:
            self._end_container()
        return self._findings

    def _run(self, point: "Point | None") -> Outcome:
        scenario = self.scenario
        command = self.place.command(scenario.words, scenario, self.kind, self._container)
        also = self.place.pid(self._container) if scenario.follows else 0
        # The program of a container that waits for start has its streams from create.
        mode = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if scenario.follows else os.O_TRUNC)
        output = os.open(self._output, mode)
        errors = os.open(self._errors, mode)
        null = os.open(os.devnull, os.O_RDWR)
        streams = {0: null, 1: null if scenario.terminal else output, 2: errors}
        if scenario.terminal:
            # Beyond those that must not be in its way.
            streams[REPORT_FD] = output
        try:
            outcome = self._injector.run(command, streams, point, also)
        finally:
            for fd in (output, errors, null):
                os.close(fd)
        if scenario.then and outcome.status == 0:
            done = self.place.call(scenario.then, self._container)
            if done.returncode != 0 and point is None:
                self._find("silence", f"{scenario.then}: {done.stderr.decode(errors='replace')}")
        return outcome

    # ---- What must hold ----

    def _find(self, kind: str, text: str) -> None:
        self._findings.append(Finding(self.name, self._point, kind, text))

    def _judge(self, outcome: Outcome, killed: bool = False) -> None:
        """The command ended in time; if it failed, its error is not an internal one."""
        said = self._errors.read_text(errors="replace")
        for process, number in outcome.stuck:
            self._find("hang", f"process {process} in {names().get(number, number)}; {said[-300:]!r}")
        for word in _FORBIDDEN:
            if word in said:
                self._find("internal error", said[-600:])
                break
        # A killed process prints nothing, and a killed thread ends its process. A signal that ends a program is a
        # status.
        if outcome.status is None or killed:
            return
        if os.WIFSIGNALED(outcome.status):
            self._find("signal", f"{signal.strsignal(os.WTERMSIG(outcome.status))}; {said[-300:]!r}")
        elif outcome.status != 0 and not said.strip():
            self._find("silence", f"status {os.WEXITSTATUS(outcome.status)} without a word")

    def _reported(self) -> list[str]:
        text = self._output.read_text(errors="replace")
        return report.comparable(text, self._container) if report.is_complete(text) else []

    def _compare(self, outcome: Outcome, killed: bool) -> None:
        """A program that has run was given all that the configuration asks for, and no more."""
        _until(lambda: self._reported() or not any(map(_is_probe, self._programs(outcome))))
        found = self._reported()
        if found:
            differs = report.difference(self._expected, found)
            if self._held_terminal() and (killed or outcome.status != 0):
                # With the end of `run` or `exec` the terminal is hung up, also while the program begins.
                differs = [line for line in differs if not _OF_A_TERMINAL.match(line)]
            if any(line[0] == "-" for line in differs):
                self._find("less", "; ".join(differs) + f"; said {self._errors.read_text(errors='replace')[-300:]!r}")
        elif outcome.status == 0 and not killed and not self.scenario.then:
            self._find("lost", "status 0, but the program did not run")

    def _held_terminal(self) -> bool:
        """Tell whether the command itself holds the program's terminal, which nobody else has got."""
        return self.scenario.terminal and "--console-socket" not in self.scenario.words

    def _programs(self, outcome: Outcome) -> list[int]:
        """Return the processes whose report there may be: those that executed a program, or the container's own."""
        programs = list(outcome.programs)
        if self.scenario.needs == "running":
            return programs
        try:
            programs.append(self.place.pid(self._container))
        except (OSError, ValueError):
            pass
        return programs

    def _is_intact(self, outcome: Outcome) -> bool:
        """Tell whether the container runs on; what came into it must have ended."""
        mine = [*outcome.processes, *outcome.programs]
        if not _until(lambda: not any(map(_runs, mine))):
            self._find("left", f"processes that came in: {[_describe(pid) for pid in mine if _runs(pid)]}")
            return False
        try:
            return _runs(self.place.pid(self._container))
        except (OSError, ValueError):
            return False

    def _end_container(self) -> None:
        """After `delete --force` there is nothing left of it."""
        container, self._container = self._container, ""
        processes = self._members(container)
        self.place.forget_terminals()
        try:
            done = self.place.call("delete", "--force", container)
        except subprocess.TimeoutExpired:
            self._find("hang", "delete --force")
            return
        if done.returncode != 0:
            self._find("left", f"delete --force: {done.stderr.decode(errors='replace')}")
        if not _until(lambda: not any(map(_runs, processes))):
            self._find("left", f"processes: {[_describe(pid) for pid in processes if _runs(pid)]}")
        made = self.place.made(container)
        # What all containers share, as a compiled filter, is made by the first.
        left = [path for path in made if path not in self.before and (self.before or container in path)]
        if left:
            self._find("left", f"{left}")
            self.before += left

    def _members(self, container: str) -> list[int]:
        """Return the processes of this place: those whose command line or cgroup has the container in it."""
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                texts = [Path(f"/proc/{process}/{name}").read_bytes() for name in ("cgroup", "cmdline")]
            except OSError:
                continue
            if any(container.encode() in text.replace(b"\0", b"/").split(b"/") for text in texts):
                found.append(int(process))
        return found


def _of_the_runtime(calls: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return the calls without those of the C library before the program, which makes its tables read-only last.

    A `run` or `exec` that waits executes the program once more.
    """
    found, linking = [], True
    for entry in calls:
        process, _, number = entry
        if process != 0 or not linking:
            found.append(entry)
        if process == 0 and names().get(number) in ("execve", "mprotect"):
            linking = names().get(number) == "execve"
    return found


def _runs(pid: int) -> bool:
    """Tell whether a process runs; one that has ended is taken note of, if it is a child of ours by now."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _is_probe(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/probe\0")
    except OSError:
        return False


def _describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{pid} {words}in {Path(f'/proc/{pid}/syscall').read_text().split()[0]}"
    except OSError:
        return str(pid)


def _until(condition) -> bool:
    """Wait until `condition()` is true, and return whether that happened in time."""
    deadline = time.monotonic() + PATIENCE / 4
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def shuffled(points: list[Point], seed: int) -> list[Point]:
    """Return the points in a random order that is the same each time.

    Each has its place by itself: where a command waits for the kernel, it makes some calls more or less.
    """
    places: dict[Point, bytes] = {}
    met: collections.Counter[tuple[int, int, str]] = collections.Counter()
    for point in points:
        kind = (point.process, point.number, point.action)
        places[point] = hashlib.sha256(f"{seed} {kind} {met[kind]}".encode()).digest()
        met[kind] += 1
    return sorted(points, key=places.__getitem__)
