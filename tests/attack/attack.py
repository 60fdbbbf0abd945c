"""`make attack`: every scenario at every point, or at as many as there is time for. See docs/testing.md.

python3 tests/attack/attack.py [--only PATTERN] [--points PATTERN] [--share N] [--times N] [--seconds N] [--jobs N]
                               [--seed N]
"""

import argparse
import collections
import ctypes
import fnmatch
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import injection
from attacker import Attacker, Finding, shuffled
from scenarios import Place, Scenario, pairs

Counts = dict[str, int]
Result = tuple[str, int, Counts, list[Finding]]


def sweep(folder: Path, runtime: Path, tools: Path, scenario: Scenario, kind: str, options) -> Result:
    """Attack one scenario; return its name, how many points it has, how many were tried by action, and the findings."""
    place = folder / f"{scenario.verb}-{kind}"
    attacker = Attacker(Place(place, runtime, tools), tools, scenario, kind, f"attack-{os.getpid()}")
    attacker.prepare()
    findings: list[Finding] = []
    counts: Counts = collections.Counter()
    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    points = [
        point
        for index, point in enumerate(shuffled(attacker.points, options.seed))
        if index % options.share == 0 and fnmatch.fnmatch(str(point), options.points)
    ]
    for point in points[: options.sample] * options.times:
        if time.monotonic() > end:
            break
        found = attacker.attack(point)
        counts["kill" if point.action == "kill" else "fault"] += 1
        for finding in found:
            print(finding, flush=True)
        findings += found
    findings += attacker.finish()
    shutil.rmtree(place, ignore_errors=True)
    return attacker.name, len(attacker.points), counts, findings


def _sweep(arguments) -> Result:
    return sweep(*arguments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="scenarios, as `exec* (user)`")
    parser.add_argument("--points", default="*", help="points, as `EPERM at prctl*`")
    parser.add_argument("--share", type=int, default=1, help="every N-th point of each scenario")
    parser.add_argument("--times", type=int, default=1, help="each of them so many times")
    parser.add_argument("--sample", type=int, help="the first N of them")
    parser.add_argument("--seconds", type=float, default=0, help="end each scenario after that time")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at once")
    parser.add_argument("--seed", type=int, default=1, help="order of the points")
    parser.add_argument("--findings", type=Path, default=Path(".cache/attack.jsonl"), help="file for what is found")
    options = parser.parse_args()
    runtime = Path(os.environ.get("PYRUNTIME") or Path(sys.executable).with_name("pyruntime"))
    chosen = [pair for pair in pairs() if fnmatch.fnmatch(f"{pair[0].verb} ({pair[1]})", options.only)]
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name)
        injection.build(folder)
        work = [(folder, runtime, folder, scenario, kind, options) for scenario, kind in chosen]
        with multiprocessing.Pool(options.jobs, maxtasksperchild=1) as pool:
            results = []
            for result in pool.imap_unordered(_sweep, work):
                results.append(result)
                print(f"{len(results)} of {len(work)}: {result[0]}", file=sys.stderr, flush=True)
    options.findings.parent.mkdir(exist_ok=True)
    with options.findings.open("w") as file:
        for result in results:
            for finding in result[3]:
                file.write(json.dumps(finding.__dict__) + "\n")
    print("\n| scenario | points | kills | faults | findings |\n|---|---:|---:|---:|---|")
    for result in sorted(results):
        print(_row(result))
    return 1 if any(result[3] for result in results) else 0


def _row(result: Result) -> str:
    name, points, counts, findings = result
    kinds = collections.Counter(finding.kind for finding in findings)
    said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"
    return f"| {name} | {points} | {counts['kill']} | {counts['fault']} | {said} |"


def with_a_reaper(function: Callable[[], int]) -> int:
    """Return what `function` returns, called in a child; this process waits for all that is left behind meanwhile.

    A pid namespace does not end before somebody has waited for its last process, whose maker may have been killed.
    """
    become_subreaper = 36  # PR_SET_CHILD_SUBREAPER
    ctypes.CDLL(None).prctl(become_subreaper, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        sys.exit(function())
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(with_a_reaper(main))
