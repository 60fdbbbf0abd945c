"""The validation suite of opencontainers/runtime-tools: getting its programs, and running them against a runtime."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import golang

import tap

MODULE = "github.com/opencontainers/runtime-tools"
VERSION = "v0.9.1-0.20251205004911-5e639034dcdc"
PROGRAMS = 58
NEEDS_GO = (1, 21)
TIME_LIMIT = 90  # seconds; the longest program waits 3 times 10 seconds for a status
# Several programs do not wait until what they have started is ready (killsig signals a shell that has yet to set its
# trap): on a busy machine they fail now and then. What fails is run again, alone.
TRIES = 3
CACHE = Path(__file__).parents[2] / ".cache" / "runtime-tools" / VERSION
EXPECTED = Path(__file__).with_name("expected-failures.txt")

# Programs that fail on most hosts and pass in a machine of tests/vm: machine -> program -> AppArmor profile to load.
# The profile allows everything: the suite asks for its name.
_ALL = "file, capability, network, mount, umount, signal, ptrace, unix,"
IN_MACHINE = {
    "v2": {
        "process_capabilities": "",
        "linux_process_apparmor_profile": f"profile acme_secure_profile flags=(attach_disconnected) {{ {_ALL} }}",
    },
    "older": {"linux_mount_label": "", "linux_cgroups_memory": "", "linux_cgroups_relative_memory": ""},
}

# Programs that use one and the same cgroup, or a fixed file: one at a time.
ALONE = ("linux_cgroups_", "delete_resources", "delete_only_create_resources")
# cgroup v1 controllers that a program needs mounted, each below the directory where the others are.
HIERARCHIES = {
    "linux_cgroups_hugetlb": ("hugetlb",),
    "linux_cgroups_relative_hugetlb": ("hugetlb",),
    "linux_cgroups_network": ("net_cls", "net_prio"),
    "linux_cgroups_relative_network": ("net_cls", "net_prio"),
}
CGROUPS = Path("/sys/fs/cgroup")
# The cgroups that the suite's configurations name (cgroups.go of the suite).
SUITE_CGROUPS = ("cgrouptest", "testdir")

# Run in a mount namespace of its own, where the directory of the hierarchies is a copy: nobody else sees those that are
# added. A controller that the unified hierarchy has passed on to its groups is taken back first, and passed on again
# afterwards.
_WITH_HIERARCHIES = """
program=$1; copy=$2; shift 2
control=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)/cgroup.subtree_control
for name; do
    if grep -qw $name $control 2>/dev/null; then echo -$name >$control && again="$again $name"; fi
done
mkdir -p $copy && mount --rbind /sys/fs/cgroup $copy && umount --recursive --lazy /sys/fs/cgroup || exit 99
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup || exit 99
for place in $copy/*; do
    name=${place##*/}
    mkdir /sys/fs/cgroup/$name
    if mountpoint -q $place; then mount --bind $place /sys/fs/cgroup/$name || exit 99; fi
done
umount --recursive --lazy $copy
for name; do
    mkdir -p /sys/fs/cgroup/$name
    for try in 1 2 3 4 5 6; do  # busy until the last group that had the controller is forgotten
        mount -t cgroup -o $name cgroup /sys/fs/cgroup/$name && break
        test $try = 6 && exit 99
        sleep 1
    done
done
"$program"; status=$?
for name; do
    find /sys/fs/cgroup/$name/cgrouptest /sys/fs/cgroup/$name/testdir -depth -type d -exec rmdir {} \\; 2>/dev/null
    umount /sys/fs/cgroup/$name
done
for name in $again; do echo +$name >$control; done
exit $status
"""

# How the reason begins for which a program may fail or pass (expected-failures.txt).
SOMETIMES = "a race:"

# Totals of the runs of this process, for pytest's summary.
TOTALS: list[str] = []


class SuiteError(Exception):
    """The suite cannot be had or run; says what is missing."""


@dataclass
class Outcome:
    """One program's run: its name, whether it passed, what it said, its exit status and its stderr."""

    name: str
    passed: bool
    report: tap.Report
    status: int
    errors: str
    seconds: float

    def explain(self) -> str:
        """Return why it failed (or what it remarked), a few lines for people."""
        lines = [f"exit status {self.status}"] if self.status else []
        for name, diagnostics in self.report.failures[:4]:
            lines += [f"not ok: {name}", *(f"    {text[:300]}" for text in diagnostics[:6])]
        lines += [text[:300] for text in self.report.remarks[:3]]
        lines += [text[:300] for text in self.errors.splitlines()[:6]]
        return "\n".join(f"    {line}" for line in lines)


def get() -> Path:
    """Return the directory with the suite's programs, runtimetest and its root filesystem; get them where missing."""
    rootfs = CACHE / f"rootfs-{golang.architecture()}.tar.gz"
    if rootfs.exists():
        return CACHE
    tool = golang.find(NEEDS_GO, CACHE)
    programs = f"{MODULE}/validation/...@{VERSION}", f"{MODULE}/cmd/runtimetest@{VERSION}"
    golang.run(tool, "install", "-ldflags=-s -w", *programs, folder=CACHE, GOBIN=str(CACHE / "bin"))
    original = golang.downloaded(tool, f"{MODULE}@{VERSION}", CACHE) / rootfs.name
    if not original.exists():
        raise SuiteError(f"the suite has no {rootfs.name}")
    shutil.copyfile(CACHE / "bin" / "runtimetest", CACHE / "runtimetest")
    (CACHE / "runtimetest").chmod(0o755)
    temporary = rootfs.with_suffix(".new")
    shutil.copyfile(original, temporary)
    temporary.rename(rootfs)  # last and at once: its presence says that all is there
    return CACHE


def programs(folder: Path) -> list[str]:
    """Return the names of the suite's programs in `folder`, or raise SuiteError where they are not all there."""
    names = sorted(path.name for path in (folder / "bin").iterdir() if path.name != "runtimetest")
    if len(names) != PROGRAMS:
        raise SuiteError(f"{folder}/bin holds {len(names)} programs instead of {PROGRAMS}")
    return names


def run_all(runtime: str, only: "tuple[str, ...]" = ()) -> dict[str, Outcome]:
    """Run the suite's programs (or `only` some) against the program `runtime`; return the outcomes by name."""
    if os.geteuid() != 0:
        raise SuiteError("the validation suite needs root")
    folder = get()
    names = [name for name in programs(folder) if not only or name in only]
    with tempfile.TemporaryDirectory(prefix="validation-", ignore_cleanup_errors=True) as directory:
        work = Path(directory)
        work.chmod(0o755)  # users of user namespaces pass through it
        wrapper = _wrapper(work, runtime)
        unused = _unused_controllers()
        together = [name for name in names if not name.startswith(ALONE)]
        alone = [name for name in names if name.startswith(ALONE)]
        try:
            with ThreadPoolExecutor(max_workers=4) as pool:
                # The programs of ALONE are one task, so that one at a time runs beside the others.
                serial = pool.submit(lambda: [_run(folder, name, wrapper, work) for name in alone])
                outcomes = list(pool.map(lambda name: _run(folder, name, wrapper, work), together))
                outcomes += serial.result()
            known = expected_failures()
            for _ in range(1, TRIES):
                failed = [outcome for outcome in outcomes if not outcome.passed and outcome.name not in known]
                again = {outcome.name: _run(folder, outcome.name, wrapper, work) for outcome in failed}
                outcomes = [again.get(outcome.name, outcome) for outcome in outcomes]
        finally:
            _clean_up(wrapper, work)
            _release(unused)
    return {outcome.name: outcome for outcome in sorted(outcomes, key=lambda outcome: outcome.name)}


def _wrapper(work: Path, runtime: str) -> Path:
    """Write a program that calls the runtime with a root of its own: what it leaves behind can then be found."""
    path = shutil.which(runtime)
    if not path:
        raise SuiteError(f"no such runtime: {runtime}")
    wrapper = work / "runtime"
    wrapper.write_text(f'#!/bin/sh\nexec "{Path(path).absolute()}" --root "{work}/root" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _run(folder: Path, name: str, wrapper: Path, work: Path) -> Outcome:
    """Run one program in its own session, with a time limit, and clean up after it."""
    command = [str(folder / "bin" / name)]
    missing = [controller for controller in HIERARCHIES.get(name, ()) if not os.path.ismount(CGROUPS / controller)]
    if missing and any(CGROUPS.glob("*/tasks")):
        unshare = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _WITH_HIERARCHIES, "sh"]
        command = [*unshare, *command, str(work / f"cgroup-{name}"), *missing]
    environment = {**os.environ, "RUNTIME": str(wrapper), "TMPDIR": str(work)}
    began = time.monotonic()
    # Files, not pipes: a process that a runtime leaves behind would keep a pipe open for ever.
    with tempfile.TemporaryFile(dir=work) as stdout, tempfile.TemporaryFile(dir=work) as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status = process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = 124
        seconds = time.monotonic() - began
        stdout.seek(0)
        stderr.seek(0)
        output, errors = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    if name.startswith(ALONE):
        _remove_cgroups()
    if status == 124:
        errors = f"no end after {TIME_LIMIT} s\n{errors}"
    report = tap.parse(output)
    return Outcome(name, tap.passes(report, status), report, status, errors, seconds)


def _clean_up(wrapper: Path, work: Path) -> None:
    """Delete the containers that failed programs left behind, and unmount what is still mounted below `work`."""
    root = work / "root"
    for container in root.iterdir() if root.is_dir() else ():
        subprocess.run([wrapper, "delete", "--force", container.name], check=False, capture_output=True)
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        place = line.split()[4]
        if place.startswith(f"{work}/"):
            subprocess.run(["umount", "--lazy", place], check=False)
    _remove_cgroups()


def _unused_controllers() -> set[str]:
    """Return those controllers of HIERARCHIES that no v1 hierarchy has."""
    lines = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()]
    return {line[0] for line in lines if line[1] == "0"} & {name for names in HIERARCHIES.values() for name in names}


def _release(controllers: set[str]) -> None:
    """Give `controllers` back to the unified hierarchy.

    A v1 hierarchy outlives its last mount when one of its groups was then still being forgotten; it goes when it is
    mounted and unmounted once more after that.
    """
    deadline = time.monotonic() + 120
    while (left := controllers - _unused_controllers()) and time.monotonic() < deadline:
        for name in left:
            script = f"mount -t cgroup -o {name} cgroup {CGROUPS} && umount {CGROUPS}"
            subprocess.run(["unshare", "--mount", "--propagation", "slave", "sh", "-c", script], check=False)
        # A group that is removed is forgotten by a work queue after grace periods of RCU. Nothing tells of that: what
        # /proc/cgroups says changes without an event, and each further try costs a mount and an unmount.
        time.sleep(0.5)


def _remove_cgroups() -> None:
    """Remove the cgroups that the suite's configurations name, with the processes that are still in them."""
    for hierarchy in CGROUPS.iterdir():
        for name in SUITE_CGROUPS:
            for group, _, _ in os.walk(hierarchy / name, topdown=False):
                _remove_cgroup(Path(group))


def _remove_cgroup(group: Path) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # busy
            pids = (group / "cgroup.procs").read_text().split()
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)  # the kernel gives no event for an emptied v1 cgroup


def expected_failures() -> dict[str, str]:
    """Return the committed list: program -> reason. Raises SuiteError for a line without a reason.

    A reason that begins with SOMETIMES is that of a program which passes where the machine is slow enough.
    """
    failures = {}
    for line in EXPECTED.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            if not reason.strip():
                raise SuiteError(f"{EXPECTED.name}: {name} has no reason")
            failures[name] = reason.strip()
    return failures


def total(outcomes: dict[str, Outcome]) -> str:
    """Return the one line that says how it went."""
    return f"{sum(outcome.passed for outcome in outcomes.values())} of {len(outcomes)} programs pass"
