"""System calls, page faults and memory of verbs: counts, because times are not the same."""

import mmap
import os
import sys
from pathlib import Path

import killing
import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# With ten hierarchies of cgroup v1; the calls of the child do not count. Two of them wait for the end of the program,
# if it has not ended yet.
MOST = 139
HIERARCHIES, MORE_FOR_ONE = 10, 9
# A new cpuset group of version 1 is empty unless its parent says otherwise: reading there and writing, for two files.
MORE_TO_FILL_CPUSET = 12
CLONE_CHILDREN = Path("/sys/fs/cgroup/cpuset/cgroup.clone_children")


def test_a_run_makes_no_more_system_calls_than_it_needs(bundle, runtime):
    path = bundle(lambda config: config["process"].update(args=["true"]))
    name = runtime.id()
    stops, first = killing.run(runtime.command("run", "--bundle", path, name), begins=(runtime.root / name).exists)
    assert 0 < first < stops
    filled = not CLONE_CHILDREN.exists() or CLONE_CHILDREN.read_text().strip() == "1"
    hierarchies = sum(" - cgroup " in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    more = max(0, hierarchies - HIERARCHIES) * MORE_FOR_ONE + (0 if filled else MORE_TO_FILL_CPUSET)
    # Each call stops twice.
    assert (stops - first) // 2 <= MOST + more


# An interpreter that is started makes some sixty before it runs anything. Of these calls six are for the large page,
# and a dozen are the C library's.
MOST_TO_FIND_NOTHING = 32


def test_a_verb_does_not_start_the_interpreter_again(runtime, pyruntime):
    if b"--snapshot" not in Path(pyruntime).read_bytes():
        pytest.skip("libpython is not part of the program")
    stops, _ = killing.run(runtime.command("state", runtime.id()))
    assert 0 < stops // 2 <= MOST_TO_FIND_NOTHING


# Before CPython 3.12 most objects of the snapshot are in one large page, if the kernel gives one. From 3.12 on they are
# not written to, and the code that verbs run lies together. If this fails there, csrc/build/hot.txt may be stale.
MOST_FAULTS, MOST_FAULTS_WITHOUT, MOST_FAULTS_IMMORTAL = 700, 1050, 620


def large_page_given() -> bool:
    """Tell whether the kernel gives this process a large page (transparent huge page) now."""
    size = 2 << 20
    with mmap.mmap(-1, 2 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        memory[:: mmap.PAGESIZE] = bytes(2 * size // mmap.PAGESIZE)
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return any(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages:"))


def test_a_run_makes_few_page_faults(bundle, runtime, pyruntime):
    if b"--snapshot" not in Path(pyruntime).read_bytes():
        pytest.skip("libpython is not part of the program")
    path = bundle(lambda config: config["process"].update(args=["true"]))

    def faults() -> int:
        pid = os.posix_spawn(pyruntime, runtime.command("run", "--bundle", path, runtime.id()), os.environ)
        _, status, used = os.wait4(pid, 0)
        assert status == 0
        return used.ru_minflt

    if sys.version_info >= (3, 12):
        most = MOST_FAULTS_IMMORTAL
    else:
        most = MOST_FAULTS if large_page_given() else MOST_FAULTS_WITHOUT
    assert 0 < min(faults() for _ in range(3)) <= most


# What nobody else has of the memory of an init that waits. With a page of each of Python's objects that were written to
# it would be four times as much.
MOST_OF_INIT = 1536  # KiB


def test_an_init_that_waits_has_no_memory_of_pythons(containers, pyruntime):
    if b"--snapshot" not in Path(pyruntime).read_bytes():
        pytest.skip("libpython is not part of the program")
    lines = containers.create().proc("smaps_rollup").read_text().splitlines()
    (own,) = (int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    assert 0 < own <= MOST_OF_INIT


# Three files for the state, the process and the freezer of version 2, two directories, and the gate of one that is
# created; the freezer of version 1 only if init does not sleep.
MOST_OF_LIST = 16


def test_list_makes_few_system_calls_for_each_container(containers, runtime):
    def calls():
        """Return the least of some counts: an init that was made just now may not sleep yet."""
        return min(killing.run(runtime.command("list"))[0] for _ in range(3)) // 2

    containers.create()
    one = calls()
    containers.create()
    containers.create()
    assert 0 < (calls() - one) / 2 <= MOST_OF_LIST
