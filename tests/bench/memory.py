"""What a runtime's processes hold in memory, and the least that a container needs."""

import os
import subprocess
import time
from pathlib import Path

import clock
from pyruntime.host import busybox
from runtimes import Runtime

LIMITS = [256 << 10, 512 << 10, *(1 << power for power in range(20, 26))]  # bytes: 256 KiB to 32 MiB
ATTEMPTS = 3
SOME = 3  # seconds


def peak(words: "list[str]") -> float:
    """Return the largest resident memory of the processes of a command, in MB.

    busybox starts it, because a process inherits the peak of the one that starts it, and this one is large.
    """
    starter = busybox.find()

    def report(command: "list[str]") -> int:
        done = subprocess.run([starter, "time", "-v", *command], check=True, capture_output=True, text=True)
        (line,) = (line for line in done.stderr.splitlines() if "Maximum resident" in line)
        return int(line.split()[-1])

    # busybox 1.35 multiplies by 4, as if the kernel counted pages: a program that reads its own size shows whether.
    status = subprocess.run([starter, "cat", "/proc/self/status"], check=True, capture_output=True, text=True).stdout
    (own,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    factor = 4 if report([starter, "cat", "/proc/self/status"]) > 2 * own else 1
    return report(words) / factor / 1024


def held(pid: int) -> float:
    """Return a process's proportional share of memory, in MB (proc_pid_smaps_rollup(5): Pss)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (kilobytes,) = (int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


def waiting_init(runtime: Runtime, bundle: Path) -> float:
    """Return what the init of a container that is created and not started holds, in MB."""
    _, pid = runtime.create(bundle, "waiting")
    try:
        return held(pid)
    finally:
        runtime.do("delete", "--force", runtime.container("waiting"))


def foreground(runtime: Runtime, bundle: Path) -> float:
    """Return what a `run` holds that has waited for the container's process for some seconds, in MB.

    bundle  its process writes a line and then waits for the end of its input
    """
    command = runtime.words("run", "--bundle", bundle, runtime.container("foreground"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin and running.stdout
        running.stdout.readline()
        time.sleep(SOME)  # a runtime may free memory some time after the start
        holding = held(running.pid)
        running.stdin.close()
    return holding


def smallest_limit(runtime: Runtime, make_bundle: "clock.Callable[[int], Path]") -> "int | None":
    """Return the least memory limit in bytes, of those in LIMITS, under which `run` of true works each time.

    make_bundle  returns the bundle for a limit in bytes
    """
    for limit in LIMITS:
        command = runtime.words("run", "--bundle", make_bundle(limit), runtime.container("limited"))
        for _ in range(ATTEMPTS):
            if subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode:
                # Some leave the container behind where its init was killed.
                subprocess.run(
                    runtime.words("delete", "--force", runtime.container("limited")), check=False, capture_output=True
                )
                break
        else:
            return limit
    return None


def memory_is_limited() -> bool:
    """Whether this host's cgroups can limit memory."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers")
    return os.path.isdir("/sys/fs/cgroup/memory") or (v2.exists() and "memory" in v2.read_text().split())
