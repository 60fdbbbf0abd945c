"""What tests of the sandbox share: sandboxes on this host's software, and a look at what they leave."""

import contextlib
import gc
import os
import subprocess
from pathlib import Path

import pytest

from pyruntime import Sandbox
from pyruntime.sandbox import place

CGROUPS = Path("/sys/fs/cgroup")


def groups():
    """Return the cgroups of sandboxes of this process, in every hierarchy."""
    name = f"sandbox-{os.getpid()}-"
    found = subprocess.run(["find", CGROUPS, "-name", f"*{name}*"], capture_output=True, text=True, check=False)
    return found.stdout.split()


def names():
    """Return the names of the processes in sandboxes of this process."""
    found = set()
    for group in groups():
        with contextlib.suppress(OSError):
            for pid in Path(group, "cgroup.procs").read_text().split():
                found.add(Path(f"/proc/{pid}/comm").read_text().strip())
    return found


@pytest.fixture
def programs():
    """The function `names`."""
    return names


def children():
    """Return the processes that are this one's children; not those that others left behind and nobody waits for."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in found if "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()]


@pytest.fixture
def no_leaks():
    """Nothing is left after the test: no descriptor, child, cgroup, mount or file."""
    from pyruntime.sandbox.seccomp import profile

    place.directory()
    profile()
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd")), Path("/proc/self/mounts").read_text()
    others = children()
    yield
    gc.collect()
    assert (sorted(os.listdir("/proc/self/fd")), Path("/proc/self/mounts").read_text()) == before
    assert [pid for pid in children() if pid not in others] == []
    assert groups() == []
    containers = place.directory() / "containers"
    assert not containers.exists() or [name for name in os.listdir(containers) if name.startswith("sandbox-")] == []


@pytest.fixture
def box(no_leaks):
    """A sandbox with small limits."""
    return Sandbox(memory="64M", pids=32, disk="8M", output_limit="256K")
