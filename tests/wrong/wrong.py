"""Runs the tests against wrong runtimes on real containers, one variation at a time: does a test fail?

docs/testing.md says what came of it.

wrong.py [--jobs N] [--again] [PATTERN ...]     patterns choose variations by name, with * for any part

First all tests run once with the program as it is, and each command writes down which variations it has a place for:
those tests, the ones of the step's own section first, then run against the variation until one fails. A test that
fails counts only if it passes again with the program as it is.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import secrets
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
WORK = PROJECT / ".cache/wrong"
FOLDERS = ("tests/conformance", "tests/integration")
PATIENCE = 4  # seconds for what a right runtime does in milliseconds
LIMIT = 150  # seconds for one variation
FITTING, OTHERS = 40, 10  # at most so many tests of a variation's sections, and of others


# A wrong runtime may forget every wall: what it runs then must not find the host. Nothing can be written but WORK,
# which is $0, and what the namespaces of its own have.
CAGE = """
mount --bind "$0" "$0"
for place in / /dev; do mount -o remount,bind,ro "$place"; done
mount -t tmpfs tmpfs /run
ip link set lo up
exec "$@"
"""


def program(variation, record=""):
    """Return the executable that is wrong as `variation` says; made anew."""
    folder = WORK / "programs" / (variation.replace("/", "_") or "right")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyruntime"
    packages = sysconfig.get_path("purelib")
    path.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path[:0] = {[packages, str(HERE)]!r}\n"
        f"import program\nprogram.run({variation!r}, {record!r})\n"
    )
    path.chmod(0o755)
    return path


def clean(session):
    """Remove the cgroups that a wrong runtime has left; its processes and mounts went with their namespaces."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        groups = [Path(path) for path, _, _ in os.walk("/sys/fs/cgroup", topdown=False) if session in path]
        if not groups:
            return
        for group in groups:
            try:
                group.rmdir()
            except OSError:
                for name, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
                    if (group / name).exists():
                        (group / name).write_text(value)
        time.sleep(0.05)


def run_tests(path, tests, *options):
    """Run tests with the program at `path`, in namespaces of their own; return (outcome -> tests, output)."""
    session = f"pytest-wrong-{secrets.token_hex(4)}"
    temporary = WORK / "tmp" / session
    temporary.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYRUNTIME": str(path),
        "PYRUNTIME_SESSION": session,
        "TMPDIR": str(WORK / "tmp"),
        "PYRUNTIME_PATIENCE": str(PATIENCE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    command += [
        "sh",
        "-ec",
        CAGE,
        str(WORK),
        "nice",
        "-n",
        "19",
        str(Path(sys.executable).with_name("pytest")),
        "-q",
        "-rfEs",
        "--tb=line",
    ]
    command += ["-p", "no:cacheprovider", f"--basetemp={temporary}", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode() + "\nERROR timeout\n"
    clean(session)
    subprocess.run(["rm", "-rf", str(temporary)], check=False)
    found = {"FAILED": [], "ERROR": []}
    for line in output.splitlines():
        for outcome, names in found.items():
            if line.startswith(f"{outcome} "):
                names.append(line.removeprefix(f"{outcome} ").partition(" - ")[0].strip())
    return found, output


# ---- What there is to vary ----


def record(jobs):
    """Run all tests with the program as it is; return (variation -> section -> tests, tests that do not count)."""
    files = [
        str(path.relative_to(PROJECT)) for folder in FOLDERS for path in sorted((PROJECT / folder).glob("test_*.py"))
    ]
    log = WORK / "record.txt"
    log.unlink(missing_ok=True)
    right = program("", str(log))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda file: run_tests(right, [file]), files))
    failing = sorted({name for found, _ in outcomes for names in found.values() for name in names})
    for _, output in outcomes:
        if "passed" not in output and "skipped" not in output:
            print(output, file=sys.stderr)
    table = {}
    for line in log.read_text().splitlines():
        test, name, section = line.split("\t")
        if name and test:
            table.setdefault(name, {}).setdefault(section, {})[test] = None
    return {name: {key: list(tests) for key, tests in one.items()} for name, one in table.items()}, failing


def recorded(jobs, again):
    """Return what `record` found, from the file of an earlier run unless `again`."""
    path = WORK / "record.json"
    if again or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record(jobs)))
    return json.loads(path.read_text())


def fitting(sections, failing, marks, most, others):
    """Return the tests that a variation runs against: those of its sections first, then the least busy others."""
    touching = list(dict.fromkeys(test for tests in sections.values() for test in tests if test not in failing))

    def fits(test):
        return any(test.partition("[")[0].removeprefix("tests/") in marks.get(section, ()) for section in sections)

    first = [test for test in touching if fits(test)]
    rest = [test for test in touching if not fits(test)]
    return _spread(first, most) + _spread(rest, others)


def _spread(tests, most):
    return tests[:: max(1, -(-len(tests) // most))]


def section_marks():
    """Return section -> tests marked with it or with one of its clauses."""
    import runpy
    import tempfile

    generator = runpy.run_path(str(PROJECT / "docs/conformance.py"))
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for name, tests in generator["tests"](Path(work)).items():
            found.setdefault(name.partition("/")[0], set()).update(tests)
    return found


# ---- The runs ----


def catch(variation, tests):
    """Return (the test that catches the variation or "", seconds); only a test that else passes does."""
    began = time.monotonic()
    path = program(variation)
    tests = list(tests)
    while tests:
        found, output = run_tests(path, tests, "-x")
        caught = found["FAILED"] + found["ERROR"]
        if not caught:
            if "passed" not in output and "skipped" not in output:
                return f"? {output[-300:]}", time.monotonic() - began
            break
        test = caught[0]
        if test == "timeout":
            return "timeout", time.monotonic() - began
        again, _ = run_tests(program(""), [test])
        if not again["FAILED"] + again["ERROR"]:
            return test, time.monotonic() - began
        tests = tests[tests.index(test) + 1 :] if test in tests else []
    return "", time.monotonic() - began


def main():
    """Run the variations; exit with 1 where one survives that survivors.txt does not explain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fitting", type=int, default=FITTING, help="at most so many tests of a variation's sections")
    parser.add_argument("--others", type=int, default=OTHERS, help="and of others")
    parser.add_argument("--again", action="store_true", help="record anew which tests have a place for what")
    parser.add_argument("--list", action="store_true", help="print the variations and how many tests each has")
    parser.add_argument("patterns", nargs="*", default=["*"])
    options = parser.parse_args()
    table, failing = recorded(options.jobs, options.again)
    marks = section_marks()
    chosen = [
        name for name in table if any(fnmatch.fnmatchcase(name, one.replace("[", "[[]")) for one in options.patterns)
    ]
    work = {name: fitting(table[name], failing, marks, options.fitting, options.others) for name in chosen}
    work = dict(sorted(work.items(), key=lambda item: len(item[1])))
    if options.list:
        for name, tests in work.items():
            print(len(tests), name)
        print(f"{len(work)} variations; {len(failing)} tests fail with the program as it is and do not count")
        return 0
    explained = reasons()
    results = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(catch, name, tests): name for name, tests in work.items()}
        for future in concurrent.futures.as_completed(futures):
            name = futures[future]
            test, seconds = results[name] = future.result()
            (WORK / "results.json").write_text(json.dumps(results, indent=1))
            print(f"{seconds:5.1f} s  {name:60} {test or f'SURVIVED {why(name, explained)}'}", flush=True)
    survivors = [name for name, (test, _) in results.items() if not test]
    bare = [name for name in survivors if not why(name, explained)]
    caught, known = len(results) - len(survivors), len(survivors) - len(bare)
    print(f"{len(results)} variations: {caught} caught, {known} survived as explained, {len(bare)} survived")
    return 1 if bare else 0


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
