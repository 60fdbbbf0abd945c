"""Measures whole commands: started without a shell, by turns, so that what slows the machine slows every one alike."""

import os
import select
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """What a command cost.

    wall    milliseconds until it had ended
    cpu     milliseconds of processor time, user and system, of its process and of those that it waited for; with what
            the container's first process has used, where the command leaves that behind
    faults  page faults of the same processes
    """

    wall: float
    cpu: float
    faults: float

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        return Cost(*(one + more for one, more in zip(self, other, strict=True)))

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(one - less for one, less in zip(self, other, strict=True)))


Costs = dict[str, list[Cost]]

NOWHERE = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
]


def run(words: "Sequence[str]") -> Cost:
    """Run a command, its output thrown away; return what it cost. Ends the program if it fails."""
    began = time.perf_counter_ns()
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=NOWHERE)
    _, status, used = os.wait4(pid, 0)
    took = time.perf_counter_ns() - began
    if status:
        sys.exit(f"bench: {' '.join(words)}: ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(took / 1e6, 1e3 * (used.ru_utime + used.ru_stime), used.ru_minflt + used.ru_majflt)


def used_by(pid: int) -> Cost:
    """Return what a process that lives has used up to now (proc_pid_schedstat(5), proc_pid_stat(5))."""
    nanoseconds = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Cost(0, nanoseconds / 1e6, int(fields[7]) + int(fields[9]))


def wait_for_exit(pid: int) -> None:
    """Wait until the process is gone or a zombie, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def by_turns(actions: "dict[str, Callable[[], dict[str, Cost]]]", rounds: int) -> "dict[str, Costs]":
    """Let each runtime act once a round, the first to act changing; the first round only warms up.

    actions  by runtime: what to do, returning costs by measure
    Returns the costs by measure and runtime.
    """
    costs: dict[str, Costs] = {}
    names = list(actions)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            for measure, cost in actions[name]().items():
                if turn:
                    costs.setdefault(measure, {other: [] for other in names})[name].append(cost)
    return costs


def rate(work: "Callable[[Any], object]", jobs: "Iterable[Any]", workers: int) -> float:
    """Do `work` for each job, `workers` of them at a time; return how many were done in a second."""
    jobs = list(jobs)
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        for _ in pool.map(work, jobs):
            pass
        return len(jobs) / (time.perf_counter() - began)


def median(values: "Sequence[float]") -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: "Sequence[float]") -> "tuple[float, float]":
    """Return the range in which 80 % of the values lie."""
    deciles = statistics.quantiles(values, n=10)
    return deciles[0], deciles[-1]
