"""Runs the tests against wrong runtimes on real containers, one variation at a time: does a test fail?

docs/testing.md says what came of it.

wrong.py [--jobs N] [--again] [PATTERN ...]     patterns choose variations by name, with * for any part

First all tests run once with the program as it is, and each command writes down which variations it has a place for,
and what would be changed. Those tests then run against the variation until one fails: first what has caught it in an
earlier run, then the tests of the step's own section, those first in which the step is unlike that of most other tests.
A variation that survives a share of its tests meets a greater one. A test that fails counts only if it passes with the
program as it is.
"""

import argparse
import concurrent.futures
import fnmatch
import functools
import json
import os
import re
import runpy
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import actions
import steps

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
WORK = PROJECT / ".cache/wrong"
FOLDERS = ("tests/conformance", "tests/integration")
PATIENCE = 4
TEST_LIMIT = 25  # a wrong runtime may hang
FIRST = 5  # tests that are tried before others
FITTING, OTHERS = 24, 8  # at most so many tests of a variation's sections, and of others
SUITE_LIMIT = 400  # seconds for one run of pytest
# Of pytest's verbose output: how long a test took, which one it begins, and how that ended.
DURATION = re.compile(r"([\d.]+)s (?:setup|call|teardown) +(tests/.*)")
BEGUN = re.compile(r"(tests/\S+\.py::.*?)(?: (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|SUB\w+).*)?$")
RESULT = re.compile(r"(tests/\S+\.py::.*?) (?:FAILED|ERROR|SUBFAIL\w*)(?: +\[ *\d+%\])?$")
COMMON = {"linux", "none", "other", "with", "without", "resources"}  # words of variations that tell nothing
LAST_FITTING, LAST_OTHERS = 150, 150  # the same for what has survived those


# A wrong runtime may isolate nothing: what it runs must not reach the host. Nothing can be written but WORK,
# which is $0, and what the namespaces of its own have. The shell stays as the first process, which adopts orphans and
# waits for them: pytest would not, and their cgroups could not be removed.
CAGE = """
mount --bind "$0" "$0"
for place in / /dev; do mount -o remount,bind,ro "$place"; done
mount -t tmpfs tmpfs /run
ip link set lo up
"$@" || exit $?
exit 0
"""


@functools.cache
def packages():
    """Return directories for Python's path: a copy of the package as it is built now, then all others."""
    copy = WORK / "packages"
    shutil.rmtree(copy, ignore_errors=True)
    installed = Path(sysconfig.get_path("purelib"))
    shutil.copytree(installed / "pyruntime", copy / "pyruntime")
    return [str(copy), str(installed)]


@functools.cache
def program(variation, record=""):
    """Return the executable that is wrong as `variation` says, "" for not at all."""
    name = f"recording-{Path(record).stem}" if record else variation.replace("/", "_") or "right"
    folder = WORK / "programs" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyruntime"
    path.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path[:0] = {[*packages(), str(HERE)]!r}\n"
        f"import program\nprogram.run({variation!r}, {record!r})\n"
    )
    path.chmod(0o755)
    return path


def clean(session):
    """End what a wrong runtime has left in cgroups, and remove those.

    A process in a frozen cgroup does not even end by SIGKILL, and with it stays the whole pid namespace of its test.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        groups = [Path(path) for path, _, _ in os.walk("/sys/fs/cgroup", topdown=False) if session in path]
        if not groups:
            return
        for group in groups:
            try:
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                for name, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
                    if (group / name).exists():
                        (group / name).write_text(value)
                group.rmdir()
            except OSError:
                continue  # a process of it is still ending
        time.sleep(0.05)


def run_tests(path, tests, *options, patience=PATIENCE, limit=TEST_LIMIT):
    """Run tests with the program at `path`, in namespaces of their own; return what pytest says.

    patience  seconds for what a right runtime does in milliseconds
    limit     seconds for one test
    """
    session = f"pytest-wrong-{secrets.token_hex(4)}"
    temporary = WORK / "tmp" / session
    temporary.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYRUNTIME": str(path),
        "PYRUNTIME_SESSION": session,
        "TMPDIR": str(WORK / "tmp"),
        "PYRUNTIME_PATIENCE": str(patience),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Not in the words of the shell, which would look like a process that a test has left.
        "PYTEST_ADDOPTS": f"--basetemp={temporary}",
    }
    command = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    command += ["sh", "-ec", CAGE, str(WORK), "nice", "-n", "19"]
    command += [str(Path(sys.executable).with_name("pytest")), "-v", "--tb=short", f"--timeout={limit}"]
    command += ["-p", "no:cacheprovider", *options, *tests]
    # Not through a pipe: what is left of a wrong runtime may hold it open.
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=file, stderr=file)
        try:
            process.wait(SUITE_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()  # and with it, by --kill-child, the pid namespace
            file.write(b"\nstopped: too slow\n")
        clean(session)
        process.wait()
        file.seek(0)
        output = file.read().decode(errors="replace")
    subprocess.run(["rm", "-rf", str(temporary)], check=False)
    return output


def failures(output):
    """Return the tests that failed, from pytest's verbose output.

    Where it did not come to its end, as when a wrong runtime has changed the root of pytest itself, the last one that
    it began is among them.
    """
    found, last = {}, ""
    for line in output.splitlines():
        begun = BEGUN.match(line)
        last = begun[1] if begun else last
        result = RESULT.match(line)
        if result:
            found[result[1]] = None
    if not complete(output) and last:
        found[last] = None
    return list(found)


# ---- What there is to vary ----


def record(file):
    """Run the tests of `file` with the program as it is. Return what they have a place for, as an object for JSON.

    places   [test, variation, section, hash of what would be changed]
    seconds  test -> how long it took
    failing  tests that do not count
    """
    log = WORK / "record" / f"{Path(file).stem}.txt"
    log.unlink(missing_ok=True)
    output = run_tests(program("", str(log)), [file], "--durations=0")
    log.with_suffix(".log").write_text(output)
    if not complete(output):
        raise SystemExit(f"{output}\n{file}: not run to its end")
    seconds = {}
    for spent, test in DURATION.findall(output):
        seconds[test] = round(seconds.get(test, 0) + float(spent), 2)
    lines = log.read_text().splitlines() if log.exists() else []
    places = dict.fromkeys(tuple(line.split("\t")) for line in lines)
    log.unlink(missing_ok=True)
    return {
        "places": [place for place in places if place[0] and place[1]],
        "seconds": seconds,
        "failing": failures(output),
    }


def complete(output):
    """Say whether pytest came to its end, with whatever result; a skip is one."""
    return re.search(r"^(no tests ran|.*\d+ (passed|failed|skipped|errors?)).* in [\d.]+s", output, re.MULTILINE)


def recorded(jobs, again):
    """Return what `record` finds in all files; those that are as they were are not run anew unless `again`.

    variations  name -> (sections, change -> tests)
    seconds, failing   of all files
    """
    folder = WORK / "record"
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for name in FOLDERS for path in sorted((PROJECT / name).glob("test_*.py"))]
    kept = {path: folder / f"{path.stem}.json" for path in files}

    def renew(path):
        kept[path].write_text(json.dumps(record(str(path.relative_to(PROJECT)))))

    stale = [
        path
        for path, one in kept.items()
        if again or not one.exists() or one.stat().st_mtime_ns < path.stat().st_mtime_ns
    ]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(renew, stale))
    variations, seconds, failing = {}, {}, set()
    for one in kept.values():
        found = json.loads(one.read_text())
        seconds.update(found["seconds"])
        failing.update(found["failing"])
        for test, name, section, change in found["places"]:
            sections, changes = variations.setdefault(name, ({}, {}))
            sections[section] = None
            changes.setdefault(change, {})[test] = None
    return {"variations": variations, "seconds": seconds, "failing": failing}


def fitting(name, entry, known, marks, before):
    """Return the tests that a variation runs against, in three rounds: the first is of few files, and soon collected.

    name    the variation's
    entry   what `recorded` has of it
    known   all that `recorded` returned
    marks   section -> tests
    before  the test that caught it in an earlier run, or ""
    """
    sections, changes = entry
    marked = set().union(*(marks.get(section, ()) for section in sections))
    unlike = {}
    for tests in changes.values():
        for test in tests:
            unlike[test] = min(len(tests), unlike.get(test, len(tests)))
    # What is called like it; then where few tests have the same; then what is quick.
    words = {word for word in re.findall("[a-z]{4,}", name.partition("/")[2] or name) if word not in COMMON}

    def order(test):
        return -sum(word.rstrip("s") in test.lower() for word in words), unlike[test], known["seconds"].get(test, 0)

    touching = sorted(unlike, key=order)
    touching = [test for test in touching if test not in known["failing"]]
    fits = [test for test in touching if test.partition("[")[0].removeprefix("tests/") in marked]
    near = {test.partition("::")[0] for test in fits}
    others = sorted(
        (test for test in touching if test not in set(fits)), key=lambda test: test.partition("::")[0] not in near
    )
    first = _some(fits, FITTING) + _some(others, OTHERS)
    if before in touching:
        first = [before, *(test for test in first if test != before)]
    last = [test for test in _some(fits, LAST_FITTING) + _some(others, LAST_OTHERS) if test not in set(first)]
    return first[:FIRST], first[FIRST:], last


def _some(tests, most):
    """Return at most so many of `tests`: half of them from the beginning, the others from all over the rest."""
    if len(tests) <= most:
        return tests
    rest = tests[most // 2 :]
    return tests[: most // 2] + rest[:: -(-len(rest) // (most - most // 2))]


def section_marks():
    """Return section -> tests marked with it or with one of its clauses."""
    generator = runpy.run_path(str(PROJECT / "generate/conformance.py"))
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for name, tests in generator["tests"](Path(work)).items():
            found.setdefault(name.partition("/")[0], set()).update(tests)
    return found


# ---- The runs ----


def catch(variation, *rounds):
    """Return (the test that catches the variation or "", seconds); only a test that else passes does.

    rounds  lists of tests; each only if nothing of those before has caught it
    Raises RuntimeError where pytest does not come to its end, and no test is to blame.
    """
    began = time.monotonic()
    path = program(variation)
    for tests in rounds:
        left = list(tests)
        while left:
            output = run_tests(path, left, "-x")
            caught = next(iter(failures(output)), "")
            if not caught:
                if not complete(output):
                    raise RuntimeError(f"{variation}: not run to the end\n{output[-2000:]}")
                break
            # A wrong runtime is not waited for, but a right one that somebody holds up is.
            again = run_tests(program(""), [caught], patience=60, limit=120)
            if complete(again) and not failures(again):
                return caught, time.monotonic() - began
            print(f"{caught} fails with the program as it is:\n{again}", file=sys.stderr, flush=True)
            # `left` may name tests without their parameters.
            left = left[next((at for at, test in enumerate(left, 1) if caught.startswith(test)), len(left)) :]
    return "", time.monotonic() - began


def main():
    """Run the variations; exit with 1 where one survives that survivors.txt does not explain, or cannot be run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="record anew what the tests have a place for")
    parser.add_argument("--list", action="store_true", help="print the variations and how many tests each has")
    parser.add_argument("--new", action="store_true", help="only those without a result of an earlier run")
    parser.add_argument("patterns", nargs="*", default=["*"])
    options = parser.parse_args()
    program("")  # and with it the copy of the package, before there are threads
    known = recorded(options.jobs, options.again)
    missing = dict.fromkeys((name for name in actions.ACTIONS if name not in known["variations"]), "")
    missing |= steps.without_place(known["variations"])
    for name, reason in missing.items():
        print(f"no test has a place for {name}: {reason or 'no reason is known'}")
    marks = section_marks()
    before = WORK / "results.json"
    results = json.loads(before.read_text()) if before.exists() else {}
    work = {
        name: fitting(name, entry, known, marks, results.get(name, [""])[0])
        for name, entry in known["variations"].items()
        if any(fnmatch.fnmatchcase(name, one.replace("[", "[[]")) for one in options.patterns)
        and not (options.new and name in results)
    }
    if options.list:
        for name, rounds in work.items():
            print(*(f"{len(tests):3}" for tests in rounds), name)
        print(
            f"{len(work)} variations; {len(known['failing'])} tests fail with the program as it is: {known['failing']}"
        )
        return 0
    explained = reasons()
    failed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(catch, name, *rounds): name for name, rounds in work.items()}
        for future in concurrent.futures.as_completed(futures):
            name = futures[future]
            try:
                test, seconds = results[name] = future.result()
            except RuntimeError as error:
                failed.append(name)
                print(error, flush=True)
                continue
            before.write_text(json.dumps(results, indent=1))
            print(f"{seconds:5.1f} s  {name:60} {test or f'SURVIVED {why(name, explained)}'}", flush=True)
    ran = [name for name in work if name not in failed]
    survivors = [name for name in ran if not results[name][0]]
    bare = [name for name in survivors if not why(name, explained)]
    print(
        f"{len(work)} variations: {len(ran) - len(survivors)} caught, {len(survivors) - len(bare)} survived as "
        f"explained, {len(bare)} survived, {len(failed)} not run"
    )
    return 1 if bare or failed or not all(missing.values()) else 0


def reasons():
    """Return pattern -> why a variation survives, from survivors.txt."""
    found = {}
    for line in (HERE / "survivors.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, _, reason = line.partition(": ")
            found[pattern] = reason
    return found


def why(name, explained):
    """Return the reason why variation `name` survives, or ""."""
    return next((reason for one, reason in explained.items() if fnmatch.fnmatchcase(name, one.replace("[", "[[]"))), "")


if __name__ == "__main__":
    sys.exit(main())
