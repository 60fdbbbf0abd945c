"""Times whole commands: started without a shell, by turns, so that what slows the machine slows every runtime alike."""

import os
import select
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Times = dict[str, list[float]]

NOWHERE = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
]


def run(words: "Sequence[str]") -> float:
    """Run a command, its output thrown away; return how long it took, in milliseconds. Ends the program if it fails."""
    began = time.perf_counter_ns()
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=NOWHERE)
    status = os.waitpid(pid, 0)[1]
    took = time.perf_counter_ns() - began
    if status:
        sys.exit(f"bench: {' '.join(words)}: ended with {os.waitstatus_to_exitcode(status)}")
    return took / 1e6


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


def by_turns(actions: "dict[str, Callable[[], dict[str, float]]]", rounds: int) -> "dict[str, Times]":
    """Let each runtime act once a round, the first to act changing; the first round only warms up.

    actions  by runtime: what to do, returning milliseconds by measure
    Returns the times by measure and runtime.
    """
    times: dict[str, Times] = {}
    names = list(actions)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            for measure, took in actions[name]().items():
                if turn:
                    times.setdefault(measure, {other: [] for other in names})[name].append(took)
    return times


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
