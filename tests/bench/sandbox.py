"""make bench-sandbox: `Sandbox().run(["true"])` beside other ways to run a program that nobody trusts.

Each way starts, waits for and cleans up after one `true`, by turns. A way whose program is missing is left out.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clock
from pyruntime import Sandbox
from runtimes import without_hybrid

Way = Callable[[], object]
BWRAP = """--unshare-all --die-with-parent --new-session --cap-drop ALL --uid 65534 --gid 65534 --ro-bind /usr /usr
    --ro-bind /etc /etc --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev
    --tmpfs /tmp --tmpfs /work --chdir /work --clearenv --setenv PATH /usr/bin"""


def command(*words: object) -> Way:
    """Return the way of a command, as a program in Python would run it."""
    return lambda: subprocess.run(list(map(str, words)), check=True, stdin=subprocess.DEVNULL, capture_output=True)


def ways(box: Sandbox, place: Path) -> "dict[str, Way]":
    """Return what there is on this machine, by name."""
    found: dict[str, Way] = {
        "subprocess.run": command("true"),
        "Sandbox().run": lambda: box.run(["true"]).check(),
    }
    if bwrap := shutil.which("bwrap"):
        found["bwrap, comparable namespaces, no cgroup"] = command(bwrap, *BWRAP.split(), "true")
    if crun := shutil.which("crun"):
        config = box.config()
        # Where Debian's crun, inside the user namespace, can go; and a version that it knows.
        shutil.copytree(config["root"]["path"], place / "rootfs", symlinks=True)
        place.chmod(0o755)
        config.update(ociVersion="1.0.2", root={"path": str(place / "rootfs"), "readonly": True})
        config["process"]["args"] = ["/usr/bin/true"]
        (place / "config.json").write_text(json.dumps(config))
        found["crun run, same configuration"] = command(
            crun, "--root", place / "crun", "run", "--bundle", place, f"bench-sandbox-{os.getpid()}"
        )
    return found


def processor_time() -> float:
    """Return the user and system time of this process and all that it has waited for, in milliseconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return 1000 * sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(way: Way) -> "Callable[[], dict[str, float]]":
    def act() -> "dict[str, float]":
        before, began = processor_time(), time.perf_counter()
        way()
        wall = 1000 * (time.perf_counter() - began)
        return {"wall": wall, "processor": processor_time() - before}

    return act


def table(times: "dict[str, clock.Times]") -> None:
    """Print medians in milliseconds, and how often one call of the first way fits into each."""
    print(f"{'':42} {'wall ms':>9} {'of ours':>8} {'processor ms':>13}")
    ours = clock.median(times["wall"]["Sandbox().run"])
    for name, values in times["wall"].items():
        wall, processor = clock.median(values), clock.median(times["processor"][name])
        print(f"{name:42} {wall:9.1f} {wall / ours:8.2f} {processor:13.1f}")


def rate(box: Sandbox, calls: int, threads: int) -> float:
    """Return how many calls a second `threads` threads make together."""
    return clock.rate(lambda _: box.run(["true"]).check(), range(calls), threads)


def left() -> "dict[str, int]":
    """Count what calls could leave behind: descriptors, mounts, cgroups, files, threads and child processes."""
    place = Path("/run/pyruntime-sandboxes")
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": sum(1 for path in Path("/sys/fs/cgroup").rglob("*sandbox-*")),
        "files": sum(1 for path in place.rglob("*")),
        "threads": len(os.listdir("/proc/self/task")),
        "children": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="make bench-sandbox")
    parser.add_argument("--rounds", type=int, default=60, help="calls of each way")
    parser.add_argument("--calls", type=int, default=400, help="calls for the rate, with 1 and 8 threads")
    parser.add_argument("--many", type=int, default=0, help="then this many calls more, and what they leave")
    options = parser.parse_args()
    without_hybrid()
    box = Sandbox()
    with tempfile.TemporaryDirectory() as place:
        box.run(["true"]).check()
        table(clock.by_turns({name: timed(way) for name, way in ways(box, Path(place)).items()}, options.rounds))
        with box.pool(4) as pool:
            ready = {"subprocess.run": command("true"), "Sandbox().run": lambda: pool.run(["true"]).check()}
            print("\nfrom a pool of 4, a pause after each call for the pool to fill itself")
            actions = {name: timed(way) for name, way in ready.items()}
            pauses = {name: (lambda act=act: (act(), time.sleep(0.05))[0]) for name, act in actions.items()}
            table(clock.by_turns(pauses, options.rounds))
    print()
    for threads in (1, 8):
        print(f"{threads} threads: {rate(box, options.calls, threads):.0f} calls a second")
    small = clock.median([timed(lambda: box.run(["true"]).check())()["wall"] for _ in range(options.rounds)])
    # The caller's memory must not matter.
    ballast = bytearray(1 << 30)
    ballast[::4096] = b"x" * (len(ballast) // 4096)
    large = clock.median([timed(lambda: box.run(["true"]).check())()["wall"] for _ in range(options.rounds)])
    print(f"wall time of a call: {small:.1f} ms; with 1 GiB in the caller {large:.1f} ms")
    del ballast
    if options.many:
        before, first = left(), rate(box, options.calls, 2)
        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(lambda _: box.run(["true"]).check(), range(options.many)):
                pass
        last = rate(box, options.calls, 2)
        print(f"after {options.many} calls: left {before} -> {left()}, {first:.0f} -> {last:.0f} calls a second")


if __name__ == "__main__":
    sys.exit(main())
