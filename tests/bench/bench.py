"""`make bench`: pyruntime beside runc and crun in one run, written to docs/benchmarks.md and docs/benchmarks.svg."""

import argparse
import itertools
import json
import os
import platform
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import bundle as bundles
import clock
import figures
import memory
import page
from runtimes import Runtime, installed, without_hybrid

DOCS = Path(__file__).parents[2] / "docs"
PYRUNTIME = Path(sys.executable).with_name("pyruntime")
CORES = os.cpu_count() or 1
WORKERS = 8
MANY = 32
PARTS = 5  # of a long series of exec
PART = 10  # how many of a part, as a multiple of the rounds
BUSY = (4, 16)  # containers that never wait
GOOD = Path(__file__).parents[2] / "spec-fixtures/config/good"
ENGINES = {
    "docker": "Docker",
    "containerd-ctr": "containerd (ctr)",
    "cri-userns": "containerd (CRI, user namespace)",
    "podman": "Podman",
}

INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Whole commands, in milliseconds, started without a shell: the median of {rounds} rounds, and in
brackets the range in which 80 % of them lie. The runtimes take turns within each round. A ratio below 1 means that
pyruntime needs less than the other. The bundle holds a static busybox; its config.json is what `pyruntime spec` writes,
without a terminal. Validation is part of every command.

{machine}

![Ratios of time](benchmarks.svg)

{main}

`exec` runs true; `kill` sends KILL to a sleeping process, `delete` follows when it has ended.

## Processor time

The same runs: milliseconds of processor time, user and system, of all processes of a command, init of `create` and
`start` included, and in brackets their page faults; medians.

{used}

The same measures on each release of Debian that `make bench` was run on, each with its own Python, runc and crun: the
ratios of processor time.

{releases}

`run` of configurations that engines write (`spec-fixtures/config/good`), with another program, root filesystem and
cgroup, and without what only the engine's machine has: hooks, files to bind, namespaces to join.

{engines}

## Throughput

Containers a second; here a ratio above 1 means that pyruntime does more.

{throughput}

## Memory

What a process holds is its proportional share (PSS), in MB. The smallest limit is the least of 256 KiB, 512 KiB, 1 MiB
and so on by which `linux.resources.memory.limit` lets `run` of true work three times in turn.

{memory}

## Many containers on one machine

The medians while others exist, created and not started.

{scale}

## Beside busy containers

The medians while others of pyruntime, which never wait, want all processors.

{busy}
"""


def of_an_engine(config: bundles.Config, rootfs: Path) -> bundles.Config:
    """Return an engine's configuration, changed so that any runtime can run it here.

    rootfs  the root filesystem to use
    """
    config["ociVersion"] = "1.0.2"  # the newest that Debian's crun accepts
    config["process"].update(args=["/bin/true"], terminal=False, cwd="/")
    for foreign in ("apparmorProfile", "selinuxLabel", "consoleSize", "rlimits"):
        config["process"].pop(foreign, None)
    config["root"] = {"path": str(rootfs)}
    config.pop("hooks", None)
    config.pop("annotations", None)
    bound = {"bind", "rbind"}
    config["mounts"] = [mount for mount in config["mounts"] if not bound & {*mount.get("options", ())}]
    linux = config["linux"]
    for foreign in ("resources", "mountLabel", "intelRdt"):
        linux.pop(foreign, None)
    linux["namespaces"] = [{"type": namespace["type"]} for namespace in linux["namespaces"]]
    return config


def beside(others: int, measured: "dict[str, clock.Costs]") -> "list[page.Row]":
    """Return the rows of the medians of time beside `others` other containers."""
    return [
        page.plain(
            f"`{measure}` beside {others}",
            {name: clock.median([cost.wall for cost in each]) for name, each in costs.items()},
        )
        for measure, costs in measured.items()
    ]


def by_verb(rows: "list[page.Row]") -> "list[page.Row]":
    """Return rows of `beside` with those of each verb next to each other."""
    return sorted(rows, key=lambda row: row[0].split(" beside")[0])


class Bench:
    """The runtimes, their bundles, and the measures taken of them."""

    def __init__(self, work: Path, rounds: int) -> None:
        """work: an empty directory; rounds: how often each runtime takes its turn"""
        self.work = work
        self.rounds = rounds
        self.runtimes = installed(PYRUNTIME, work)
        self.names = [runtime.name for runtime in self.runtimes]
        self.titles = [f"{runtime.name} {runtime.version()}" for runtime in self.runtimes]
        self.rootfs = bundles.make_rootfs(work / "rootfs")
        self.true = self.bundle("true", "/bin/true")
        self.sleep = self.bundle("sleep", "/bin/sleep", "1000000")
        self.numbers = itertools.count()

    def bundle(self, name: str, *args: str, limit: "int | None" = None) -> Path:
        """Make a bundle whose process is `args`, under a memory limit in bytes if one is given."""

        def change(config: bundles.Config) -> None:
            config["ociVersion"] = "1.0.2"  # the newest that Debian's crun accepts
            config["process"]["args"] = list(args)
            if limit is not None:
                config["linux"]["resources"] = {"memory": {"limit": limit}}

        return bundles.make_bundle(self.work / name, PYRUNTIME, change, rootfs=self.rootfs)

    def limited(self, limit: int) -> Path:
        """Return the bundle that runs true under a memory limit in bytes."""
        path = self.work / f"limit-{limit}"
        return path if path.exists() else self.bundle(path.name, "/bin/true", limit=limit)

    def measured(self) -> "dict[str, clock.Costs]":
        """Measure every verb of each runtime, by turns."""
        measured = clock.by_turns({each.name: partial(each.run, self.true, "b") for each in self.runtimes}, self.rounds)
        for bundle, what in ((self.true, Runtime.lifecycle), (self.sleep, Runtime.live)):
            actions = {each.name: partial(what, each, bundle, "b") for each in self.runtimes}
            measured |= clock.by_turns(actions, self.rounds)
        return measured

    def engines(self) -> "list[page.Row]":
        """Measure `run` of what engines write."""
        rows = []
        for name, title in ENGINES.items():
            config = of_an_engine(json.loads((GOOD / f"{name}.json").read_text()), self.rootfs)
            # One for each runtime: no other may have its cgroup.
            actions = {}
            for runtime in self.runtimes:
                own = self.work / f"{name}-{runtime.name}"
                own.mkdir()
                config["linux"]["cgroupsPath"] = f"/{runtime.container('b')}"
                (own / "config.json").write_text(json.dumps(config))
                actions[runtime.name] = partial(runtime.run, own, "b")
            (costs,) = clock.by_turns(actions, max(5, self.rounds // 2)).values()
            rows.append(page.used(title, costs))
        return rows

    def throughput(self) -> "list[page.Row]":
        """Keep all processors busy with containers, in three rounds of turns."""

        def work(runtime: Runtime, what: str, _job: int) -> None:
            getattr(runtime, what)(self.true, f"b{next(self.numbers)}")

        rows = []
        lives = "`create`, `start`, `delete`"
        for what, label, together in (
            ("run", "`run`", CORES),
            ("lifecycle", lives, WORKERS),
            ("lifecycle", lives, MANY),
        ):
            rates: dict[str, list[float]] = {name: [] for name in self.names}
            for _ in range(3):
                for runtime in self.runtimes:
                    rates[runtime.name].append(clock.rate(partial(work, runtime, what), range(self.rounds), together))
            medians = {name: clock.median(values) for name, values in rates.items()}
            rows.append(page.plain(f"{label}, {together} at a time", medians))
        return rows + self.executions()

    def executions(self) -> "list[page.Row]":
        """Keep all processors busy with processes of one container, for a while: the rate shall not fall."""
        begin, end = {}, {}
        for runtime in self.runtimes:
            runtime.create(self.sleep, "kept")
            container = runtime.container("kept")
            runtime.do("start", container)

            def work(_job: int, runtime: Runtime = runtime, container: str = container) -> None:
                runtime.do("exec", container, "/bin/true")

            try:
                parts = [clock.rate(work, range(PART * self.rounds), WORKERS) for _ in range(PARTS)]
            finally:
                runtime.do("delete", "--force", container)
            begin[runtime.name], end[runtime.name] = parts[0], parts[-1]
        label = f"`exec` in one container, {WORKERS} at a time"
        first, last = PART * self.rounds, PART * self.rounds * PARTS
        return [
            page.plain(f"{label}, the first {first:,}", begin),
            page.plain(f"{label}, the last {first:,} of {last:,}", end),
        ]

    def memory(self) -> "list[page.Row]":
        """Measure what each runtime needs of memory."""
        reading = self.bundle("reading", "/bin/sh", "-c", "echo; read line")

        def middle(measure: "clock.Callable[[Runtime], float]") -> "dict[str, float]":
            return {each.name: clock.median([measure(each) for _ in range(5)]) for each in self.runtimes}

        rows = [
            page.plain("peak of `run`", middle(lambda each: memory.peak(each.words("run", "-b", self.true, "b")))),
            page.plain("peak of `state`", self.peak_of_state()),
            page.plain("init of a `created` container", middle(lambda each: memory.waiting_init(each, self.sleep))),
            page.plain("a waiting `run`", middle(lambda each: memory.foreground(each, reading))),
        ]
        if memory.memory_is_limited():
            limits = {each.name: memory.smallest_limit(each, self.limited) for each in self.runtimes}
            known = {name: limit / 1024 for name, limit in limits.items() if limit}
            rows.append(page.plain("smallest limit, KiB", known, "{:.0f}"))
        return rows

    def peak_of_state(self) -> "dict[str, float]":
        """Return the peak memory of `state` by runtime, in MB."""
        peaks = {}
        for runtime in self.runtimes:
            runtime.create(self.sleep, "kept")
            try:
                peaks[runtime.name] = memory.peak(runtime.words("state", runtime.container("kept")))
            finally:
                runtime.do("delete", "--force", runtime.container("kept"))
        return peaks

    def scale(self, sizes: "tuple[int, ...]") -> "list[page.Row]":
        """Time verbs beside ever more other containers of the same runtime.

        sizes  how many others there are, ascending
        """
        rows = []
        rounds = max(5, self.rounds // 5)
        before = 0
        try:
            for others in sizes:
                for runtime in self.runtimes:
                    new = (f"other{number}" for number in range(before, others))
                    clock.rate(partial(runtime.create, self.sleep), new, WORKERS)
                before = others

                def act(runtime: Runtime) -> "dict[str, clock.Cost]":
                    create, _ = runtime.create(self.sleep, "b")
                    container = runtime.container("b")
                    times = {"create": create, "state": runtime.do("state", container), "list": runtime.do("list")}
                    return times | {"delete --force": runtime.do("delete", "--force", container)}

                measured = clock.by_turns({each.name: partial(act, each) for each in self.runtimes}, rounds)
                rows += beside(others, measured)
        finally:
            for runtime in self.runtimes:
                left = [path.name for path in runtime.root.glob(f"{runtime.name}-other*")]
                clock.rate(partial(runtime.do, "delete", "--force"), left, WORKERS)
        return by_verb(rows)

    def busy(self) -> "list[page.Row]":
        """Time verbs while ever more containers want the processors."""
        neighbour = self.runtimes[0]
        endless = self.bundle("endless", "/bin/sh", "-c", "while :; do :; done")
        rows = []
        made: list[str] = []
        try:
            for others in BUSY:
                while len(made) < others:
                    name = f"busy{len(made)}"
                    made.append(neighbour.container(name))
                    neighbour.create(endless, name)
                    neighbour.do("start", made[-1])
                for bundle, what in ((self.true, Runtime.run), (self.sleep, Runtime.live)):
                    actions = {each.name: partial(what, each, bundle, "b") for each in self.runtimes}
                    rows += beside(others, clock.by_turns(actions, max(5, self.rounds // 2)))
        finally:
            for container in made:
                neighbour.do("delete", "--force", container)
        return by_verb(rows)


def main() -> None:
    """Run the benchmark and write the page."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=100, help="turns of each runtime (default: 100)")
    parser.add_argument("--others", type=int, nargs="*", default=[1, 100, 500], help="other containers (1 100 500)")
    parser.add_argument("--print", action="store_true", help="print the tables, and write nothing")
    parser.add_argument(
        "--release", action="store_true", help="measure only what the table of releases has, and add it"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    without_hybrid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))  # what was made is cleaned up
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        Path(directory).chmod(0o755)  # root of a user namespace has to reach the root filesystem
        bench = Bench(Path(directory), options.rounds)
        measured = bench.measured()
        used = [page.used(f"`{measure}`", costs) for measure, costs in measured.items()]
        if not options.print:
            figures.keep(bench.titles, used)
        if options.release:
            print(page.table(bench.names, bench.titles, used))
            return
        times = [page.timed(f"`{measure}`", costs) for measure, costs in measured.items()]
        parts = {
            "main": times,
            "used": used,
            "engines": bench.engines(),
            "throughput": bench.throughput(),
            "memory": bench.memory(),
            "scale": bench.scale(tuple(options.others)) if options.others else [],
            "busy": bench.busy(),
        }
    tables = {name: page.table(bench.names, bench.titles, rows) for name, rows in parts.items()}
    print("\n\n".join(tables.values()))
    if not options.print:
        system = f"Linux {platform.release()} on {platform.machine()}, {CORES} cores"
        machine = f"{system}; Python {platform.python_version()}."
        words = {"rounds": options.rounds, "machine": machine, "releases": figures.table()}
        (DOCS / "benchmarks.md").write_text(INTRODUCTION.format(**words, **tables))
        (DOCS / "benchmarks.svg").write_text(page.picture(times))


if __name__ == "__main__":
    main()
