"""`make bench`: pyruntime beside runc and crun in one run, written to docs/benchmarks.md.

Commands are timed by hyperfine without a shell. The runtimes take turns in rounds, so that a machine that slows down
or speeds up during the run does so for all of them.
"""

import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import bundle as bundles

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "benchmarks.md"
PYRUNTIME = Path(sys.executable).with_name("pyruntime")
UNIFIED = Path("/sys/fs/cgroup/unified")
ROUNDS = 8
RUNS = 25  # of each command in each round
WARMUP = 3

INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Whole processes, in milliseconds: the median, and in brackets the range in which 80 % of the
runs lie. The runtimes take turns, {rounds} rounds of {runs} runs each. A ratio below 1 means that pyruntime is faster.
The bundle holds a static busybox; its config.json is what `pyruntime spec` writes, without a terminal.

{machine}
"""


def runtimes() -> dict[str, str]:
    """Return the programs to compare, by name."""
    found = {"pyruntime": str(PYRUNTIME), "runc": shutil.which("runc"), "crun": shutil.which("crun")}
    missing = [name for name, path in found.items() if not path or not Path(path).exists()]
    if missing:
        sys.exit(f"bench: not installed: {', '.join(missing)}")
    return {name: str(path) for name, path in found.items()}


def version(program: str) -> str:
    """Return what `program --version` says first."""
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return said.splitlines()[0].split()[-1]


def hyperfine(commands: "dict[str, str]") -> "dict[str, list[float]]":
    """Time the commands in rounds; return the times of each, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.NamedTemporaryFile(suffix=".json") as export:
        options = ["-N", "--style", "none", "--warmup", str(WARMUP), "--runs", str(RUNS), "--export-json", export.name]
        for _ in range(ROUNDS):
            # It warns about outliers on stderr; the page shows the spread.
            done = subprocess.run(
                ["hyperfine", *options, *commands.values()],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            if done.returncode:
                sys.exit(f"bench: {done.stderr.decode()}")
            for name, result in zip(commands, json.loads(Path(export.name).read_text())["results"], strict=True):
                times[name] += [seconds * 1000 for seconds in result["times"]]
    return times


def peak_memory(command: str) -> float:
    """Return the largest resident memory of the processes of `command`, in MB.

    busybox starts it, because a process inherits the peak of the one that starts it, and this one is large.
    """
    busybox = [str(bundles.busybox())]

    def report(words: "list[str]") -> int:
        done = subprocess.run([*busybox, "time", "-v", *words], check=True, capture_output=True, text=True)
        (line,) = (line for line in done.stderr.splitlines() if "Maximum resident" in line)
        return int(line.split()[-1])

    # busybox 1.35 multiplies by 4, as if the kernel counted pages: a program that knows its own size tells.
    status = subprocess.run([*busybox, "cat", "/proc/self/status"], check=True, capture_output=True, text=True).stdout
    (own,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    factor = 4 if report([*busybox, "cat", "/proc/self/status"]) > 2 * own else 1
    return report(shlex.split(command)) / factor / 1024


def row(label: str, times: "dict[str, list[float]]") -> str:
    """Return one row of the table."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    cells = []
    for name, values in times.items():
        deciles = statistics.quantiles(values, n=10)
        cells.append(f"{medians[name]:.1f} ({deciles[0]:.1f} to {deciles[-1]:.1f})")
    ratios = [f"{medians['pyruntime'] / medians[other]:.2f}" for other in medians if other != "pyruntime"]
    return f"| {label} | {' | '.join(cells)} | {' | '.join(ratios)} |"


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


def main() -> None:
    """Run the benchmark and write the page."""
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    without_hybrid()
    programs = runtimes()

    def true(config: bundles.Config) -> None:
        config["ociVersion"] = "1.0.2"  # the newest that Debian's crun accepts
        config["process"]["args"] = ["/bin/true"]

    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        work = Path(directory)
        bundle = bundles.make_bundle(work / "bundle", PYRUNTIME, true)
        base = {name: f"{path} --root {work}/{name}" for name, path in programs.items()}
        run = {name: f"{command} run --bundle {bundle} bench-{name}" for name, command in base.items()}
        lifecycle = {}
        for name, command in base.items():
            script = work / f"lifecycle-{name}"
            script.write_text(
                f"#!/bin/sh\n{command} create --bundle {bundle} bench-{name} && "
                f"{command} start bench-{name} && {command} delete --force bench-{name}\n"
            )
            script.chmod(0o755)
            lifecycle[name] = str(script)
        rows = [
            row("`run` of true", hyperfine(run)),
            row("`create`, `start`, `delete -f` (and a shell)", hyperfine(lifecycle)),
        ]
        for name, command in base.items():
            subprocess.run([*shlex.split(command), "create", "--bundle", bundle, f"kept-{name}"], check=True)
        try:
            rows.append(row("`state`", hyperfine({name: f"{base[name]} state kept-{name}" for name in base})))
        finally:
            for name, command in base.items():
                subprocess.run([*shlex.split(command), "delete", "--force", f"kept-{name}"], check=True)
        memory = {name: [peak_memory(command) for _ in range(9)] for name, command in run.items()}
    middle = {name: statistics.median(values) for name, values in memory.items()}
    cells = " | ".join(f"{value:.1f}" for value in middle.values())
    ratios = " | ".join(f"{middle['pyruntime'] / middle[other]:.2f}" for other in ("runc", "crun"))
    rows.append(f"| peak memory of `run`, MB | {cells} | {ratios} |")
    names = [f"{name} {version(path)}" for name, path in programs.items()]
    header = f"| | {' | '.join(names)} | ratio to runc | ratio to crun |\n|---|---|---|---|---|---|"
    system = f"Linux {platform.release()} on {platform.machine()}, {os.cpu_count()} cores"
    machine = f"{system}; Python {platform.python_version()}."
    table = "\n".join([header, *rows])
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(INTRODUCTION.format(rounds=ROUNDS, runs=RUNS, machine=machine) + f"\n{table}\n")
    print(table)


if __name__ == "__main__":
    main()
