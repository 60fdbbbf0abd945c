"""How the process is run: scheduler, I/O priority, personality, memory policy, the CPUs of exec (config.md#process)."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from changes import linux, process, resources

SCHEDULING = pytest.mark.clause("config.md#linux-process")
PERSONALITY = pytest.mark.clause("config-linux.md#personality")
MEMORY = pytest.mark.clause("config-linux.md#memory-policy")

# Of /proc/PID/stat (proc(5)), as cut counts.
NICE, PRIORITY, POLICY = 19, 40, 41

CLAMP = "SCHED_FLAG_UTIL_CLAMP_MIN"


def field(inside, number, *changes):
    """Return a field of /proc/self/stat in a container."""
    return inside(f"cut -d' ' -f{number} /proc/self/stat", *changes)


@SCHEDULING
@pytest.mark.parametrize(
    ("scheduler", "number", "expected"),
    [
        ({"policy": "SCHED_BATCH"}, POLICY, "3"),
        ({"policy": "SCHED_IDLE"}, POLICY, "5"),
        ({"policy": "SCHED_OTHER", "nice": 5}, NICE, "5"),
        ({"policy": "SCHED_BATCH", "nice": 7}, NICE, "7"),
    ],
)
def test_the_scheduler(inside, scheduler, number, expected):
    assert field(inside, number, process(scheduler=scheduler)) == expected


@SCHEDULING
@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"policy": "SCHED_IDLE", "nice": 5}, "5"),
        ({"policy": "SCHED_IDLE"}, "0"),
        ({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000, "nice": 4}, "4"),
        ({"policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_KEEP_PARAMS"]}, None),  # the caller's
    ],
)
def test_the_nice_value_under_any_policy_is_not_the_callers(containers, scheduler, expected):
    bundle = containers.bundle(f"cut -d' ' -f{NICE} /proc/self/stat", process(scheduler=scheduler))
    callers = min(os.nice(0) + 7, 19)
    command = ["nice", "-n", "7", containers.runtime.program, "--root", containers.runtime.root]
    done = subprocess.run(
        [*command, "run", "-b", bundle, containers.runtime.id()], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == f"{expected or callers}\n"


@SCHEDULING
def test_a_utilization_clamp_is_set_or_the_kernel_has_none(containers):
    bundle = containers.bundle("true", process(scheduler={"policy": "SCHED_OTHER", "flags": [CLAMP]}))
    done = containers.runtime("run", "-b", bundle, containers.runtime.id(), check=False)
    assert done.returncode == 0 or "EOPNOTSUPP" in done.stderr or "ENOTSUP" in done.stderr


class Attributes(ctypes.Structure):
    """struct sched_attr, as sched_getattr(2) fills it."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    ]


def attributes(pid):
    """Return what sched_getattr(2) says of process `pid`."""
    number = {"x86_64": 315, "aarch64": 275}[os.uname().machine]
    found = Attributes()
    assert ctypes.CDLL(None).syscall(number, pid, ctypes.byref(found), ctypes.sizeof(found), 0) == 0
    return found


@SCHEDULING
def test_the_budget_of_the_deadline_scheduler(containers):
    asked = {"runtime": 1_000_000, "deadline": 20_000_000, "period": 40_000_000}
    container = containers.create(process(scheduler={"policy": "SCHED_DEADLINE", **asked}))
    found = attributes(container.pid)
    assert found.policy == 6
    assert {name: getattr(found, name) for name in asked} == asked


@SCHEDULING
def test_the_flags_of_the_scheduler(containers):
    container = containers.create(process(scheduler={"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}))
    assert attributes(container.pid).flags == os.SCHED_RESET_ON_FORK >> 30


@SCHEDULING
def test_the_priority_of_a_real_time_policy(containers):
    # If the kernel divides real time among groups, the container's group needs a budget.
    grouped = Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists()
    budget = [resources(cpu={"realtimeRuntime": 1000})] if grouped else []
    container = containers.create(process(scheduler={"policy": "SCHED_FIFO", "priority": 7}), *budget)
    found = attributes(container.pid)
    assert (found.policy, found.priority) == (os.SCHED_FIFO, 7)


@SCHEDULING
def test_without_a_scheduler_the_callers_is_kept(inside):
    own = os.sched_getscheduler(0)
    assert field(inside, POLICY) == str(own)


@SCHEDULING
@pytest.mark.parametrize(
    ("scheduler", "pointer"),
    [
        ({"policy": "SCHED_FIFO", "priority": 100}, "/process/scheduler"),
        ({"policy": "SCHED_SOMETIMES"}, "/process/scheduler/policy"),
    ],
)
def test_a_scheduler_that_cannot_be_is_an_error(containers, scheduler, pointer):
    assert pointer in containers.refused(process(scheduler=scheduler))


@SCHEDULING
@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 6}, "best-effort: prio 6"),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "idle"),
    ],
)
def test_the_priority_of_io(inside, priority, expected):
    assert inside("ionice", process(ioPriority=priority)) == expected


@PERSONALITY
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other machines have other names for their 32 bits")
def test_the_personality(inside):
    assert inside("uname -m") == "x86_64"
    assert inside("uname -m", linux(personality={"domain": "LINUX32"})) == "i686"
    assert inside("uname -m", linux(personality={"domain": "LINUX"})) == "x86_64"


@MEMORY
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "interleave=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
def test_the_memory_policy(inside, policy, expected):
    # The heap has the policy of the process; the stack was made before the program was.
    table = inside("cat /proc/self/numa_maps", linux(memoryPolicy=policy))
    assert {line.split()[1] for line in table.splitlines() if " heap" in line} == {expected}


@MEMORY
@pytest.mark.parametrize("nodes", ["1023", "0,1023"])
def test_a_memory_node_that_is_not_there_is_an_error(containers, nodes):
    said = containers.refused(linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": nodes}))
    assert "/linux/memoryPolicy" in said


@SCHEDULING
def test_cpus_of_exec(containers):
    container = containers.start(process(execCPUAffinity={"initial": "0", "final": "0"}))
    listed = "grep Cpus_allowed_list /proc/self/status"
    done = container.exec("sh", "-c", listed)
    assert done.stdout.split()[1] == "0"
    # The container's first process keeps its CPUs.
    allowed = container.proc("status").read_text().partition("Cpus_allowed_list:")[2].split()[0]
    assert allowed == open("/proc/self/status").read().partition("Cpus_allowed_list:")[2].split()[0]


@SCHEDULING
@pytest.mark.parametrize("kind", ["initial", "final"])
def test_a_cpu_of_exec_that_is_not_there_is_an_error(containers, kind):
    container = containers.start(process(execCPUAffinity={kind: "0,8191"}))
    done = container.exec("true", check=False)
    assert done.returncode == 255
    assert "CPU 8191 is not there" in done.stderr
    assert f"/process/execCPUAffinity/{kind}" in done.stderr
