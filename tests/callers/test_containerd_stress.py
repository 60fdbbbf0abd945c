"""A hundred containers through containerd, eight at a time: none is lost, and nothing of them is left."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from calling import IMAGE, until

CONTAINERS = 100
AT_A_TIME = 8


def test_a_hundred_containers_eight_at_a_time(containerd):
    ctr = containerd.ctr

    def life(number: int) -> None:
        name = f"stress{number}"
        ctr("run", "--detach", "--memory-limit", 32 << 20, IMAGE, name, "sleep", "1000")
        # The status, not the output: of that ctr 1.6 loses some now and then, with runc as well.
        ctr("task", "exec", "--exec-id", "e", name, "sh", "-c", f"exit {number}", status=number)
        ctr("task", "kill", "--signal", "KILL", name)
        until(lambda: containerd.status(name) == "STOPPED", f"{name} to end")
        assert "exit code 137" in ctr("task", "delete", name).stderr
        ctr("container", "delete", name)

    before = _mounts(containerd)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(life, range(CONTAINERS)))
    assert ctr("container", "ls", "--quiet").stdout == ""
    assert containerd.left() == []
    assert _groups(containerd.namespace) == []
    assert _mounts(containerd) == before
    until(lambda: _processes(containerd.namespace) == [], "the last shim to end")


def _groups(name: str) -> list[str]:
    """Return the cgroups below the containers' common one."""
    return [
        f"{path}/{child}"
        for hierarchy in Path("/sys/fs/cgroup").iterdir()
        for path, children, _ in os.walk(hierarchy / name)
        for child in children
    ]


def _mounts(containerd) -> list[str]:
    """Return the mounts below the directory of the daemon and its runtime."""
    place = f"{containerd.runtime_root.parent}/"
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [mount for mount in places if mount.startswith(place)]


def _processes(name: str) -> list[str]:
    """Return the processes in a cgroup of the containers or with their namespace's name among their arguments."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            group, arguments = ((process / file).read_bytes() for file in ("cgroup", "cmdline"))
        except OSError:
            continue  # it ended meanwhile
        if f"/{name}/".encode() in group or name.encode() in arguments.split(b"\0"):
            found.append(f"{process.name} {arguments!r}")
    return found
