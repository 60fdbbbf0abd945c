"""`make profile VERB=…`: where the time of one verb goes: counts beside runc's, system calls, imports, functions.

Counts, unlike times, are the same on a busy machine: compare those before and after a change.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import clock
from bench import Bench
from runtimes import Runtime, without_hybrid

EVENTS = ["instructions:u", "instructions:k", "page-faults", "context-switches", "task-clock"]
REPEATS = 10
CONTAINER = "profiled"
SHOWN = 25  # lines of each list


@contextlib.contextmanager
def ready(bench: Bench, runtime: Runtime, verb: str) -> "Iterator[list[str]]":
    """Bring a container to where `verb` is what comes next; give the command line of the verb. Cleans up."""
    container = runtime.container(CONTAINER)
    bundle = bench.true if verb == "run" else bench.sleep
    arguments: list[str | Path] = {
        "run": ["run", "--bundle", bundle, container],
        "create": ["create", "--bundle", bundle, container],
        "exec": ["exec", container, "/bin/true"],
        "kill": ["kill", container, "KILL"],
    }.get(verb, [verb] if verb in ("list", "features", "--version") else [verb, container])
    pid = 0
    if verb not in ("run", "create"):
        _, pid = runtime.create(bundle, CONTAINER)
    if verb in ("exec", "kill", "delete"):
        runtime.do("start", container)
    if verb == "delete":
        runtime.do("kill", container, "KILL")
        clock.wait_for_exit(pid)
    try:
        yield runtime.words(*arguments)
    finally:
        subprocess.run(runtime.words("delete", "--force", container), check=False, capture_output=True)


def counts(bench: Bench, runtime: Runtime, verb: str) -> "dict[str, float]":
    """Return what perf counts of one verb and of the processes it starts while it lives: medians of REPEATS."""
    seen: dict[str, list[float]] = {event: [] for event in EVENTS}
    with tempfile.NamedTemporaryFile("r") as output:
        perf = ["perf", "stat", "-x,", "-o", output.name, "-e", ",".join(EVENTS)]
        for _ in range(REPEATS):
            with ready(bench, runtime, verb) as command:
                subprocess.run([*perf, *command], check=True, stdout=subprocess.DEVNULL)
            fields = [line.split(",") for line in Path(output.name).read_text().splitlines()]
            found = {field[2]: field[0] for field in fields if len(field) > 2}
            for event in EVENTS:
                with contextlib.suppress(ValueError):  # a virtual machine may not count
                    seen[event].append(float(found.get(event, "")))
    return {event: clock.median(values) for event, values in seen.items() if values}


def show(title: str, lines: "list[str]") -> None:
    """Print a part of the report."""
    print(f"\n== {title}\n" + "\n".join(lines[:SHOWN]))


def main() -> None:
    """Profile the verb that is named in the arguments."""
    if len(sys.argv) != 2:
        sys.exit("usage: make profile VERB=run|create|start|state|exec|kill|delete|list|features|--version")
    if os.geteuid() != 0:
        sys.exit("profile: needs root")
    verb = sys.argv[1]
    without_hybrid()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        work = Path(directory)
        bench = Bench(work, 1)
        own, *others = bench.runtimes

        by_runtime = {each.name: counts(bench, each, verb) for each in (own, *others)}
        lines = [f"{'':20}" + "".join(f"{name:>14}" for name in by_runtime)]
        for event in EVENTS:
            cells = [f"{found[event]:>14,.1f}" if event in found else f"{'-':>14}" for found in by_runtime.values()]
            lines.append(f"{event:20}" + "".join(cells))
        show(f"{verb}: counts (task-clock in ms)", lines)

        # The init of `create` lives on, and strace would wait for it: what it does is seen with `run`.
        follow = ["--summary-wall-clock"] if verb == "create" else ["--summary-wall-clock", "-f"]
        trace = work / "strace"
        with ready(bench, own, verb) as command:
            subprocess.run(["strace", "-c", "-o", trace, *follow, *command], check=True, stdout=subprocess.DEVNULL)
        show("system calls by wall time, the container's process included", trace.read_text().splitlines())

        # Into files: the init of `create` holds what it inherits open, and the end of a pipe would never come.
        # The installed package without its launcher: the same modules, from files.
        python = [sys.executable, "-I", "-S", "-X", "importtime", "-c"]
        packages = [path for path in sys.path if path.endswith("-packages")]
        program = f"import sys; sys.path += {packages}; from pyruntime.cli.main import program; program()"
        output = work / "imports"
        with ready(bench, own, verb) as command, output.open("w") as file:
            subprocess.run([*python, program, *command[1:]], check=True, stdout=subprocess.DEVNULL, stderr=file)
        head, *lines = [
            line.removeprefix("import time:")
            for line in output.read_text().splitlines()
            if line.startswith("import time:")
        ]
        lines.sort(key=lambda line: -int(line.split("|")[0]))
        show(f"imports: {len(lines)} (own time, time with what it imports, in us)", [head, *lines])

        program = f"import sys; sys.path += {packages}; from pyruntime.cli.main import main; import cProfile\n"
        program += "cProfile.run('main(sys.argv[1:])', sort='tottime')"
        output = work / "functions"
        with ready(bench, own, verb) as command, output.open("w") as file:
            subprocess.run([*python[:3], "-c", program, *command[1:]], check=True, stdout=file)
        show("functions of the runtime's own process", output.read_text().splitlines())


if __name__ == "__main__":
    main()
