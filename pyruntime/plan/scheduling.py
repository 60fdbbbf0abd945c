"""Scheduling of the process: scheduler, I/O priority, personality, memory policy (config.md#linux-process)."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from pyruntime.spec.json_types import Config, Process, Scheduler

_PROCESS = "config.md#linux-process"

# <linux/sched.h>
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
# <linux/ioprio.h>
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
# <linux/personality.h>
DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}
# <linux/mempolicy.h>
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_NODE_LIMIT = 1024  # MAX_NUMNODES of the largest kernels
_CPU_LIMIT = 8192  # NR_CPUS of the largest kernels


def scheduling(config: "Config") -> "Iterator[Step]":
    """Yield what is set while init has the runtime's privileges. Raises Error for a node beyond any kernel's."""
    process, linux = config.get("process") or {}, config.get("linux") or {}
    if "personality" in linux:
        domain = linux["personality"]["domain"]
        yield Step("personality", "/linux/personality", "config-linux.md#personality", persona=DOMAINS[domain])
    if "memoryPolicy" in linux:
        policy = linux["memoryPolicy"]
        mode = MEMORY_MODES[policy["mode"]]
        for flag in policy.get("flags") or ():
            mode |= MEMORY_FLAGS[flag]
        yield Step(
            "set_mempolicy",
            "/linux/memoryPolicy",
            "config-linux.md#memory-policy",
            mode=mode,
            nodes=_memory_nodes(policy.get("nodes") or ""),
        )
    if "scheduler" in process and is_inherited(process["scheduler"]):
        yield scheduler(process)
    if "ioPriority" in process:
        priority = process["ioPriority"]
        yield Step(
            "ioprio_set",
            "/process/ioPriority",
            _PROCESS,
            ioclass=IO_CLASSES[priority["class"]],
            priority=priority["priority"],
        )


def is_inherited(scheduler: "Scheduler") -> bool:
    """Tell whether a child gets the same scheduler (sched(7)); under SCHED_DEADLINE there can be no child at all."""
    return scheduler["policy"] != "SCHED_DEADLINE" and "SCHED_FLAG_RESET_ON_FORK" not in scheduler.get("flags", ())


def scheduler(process: "Process") -> Step:
    """Return the step that chooses the scheduler; `process` has one."""
    chosen = process["scheduler"]
    flags = 0
    if chosen.get("flags"):
        for flag in chosen["flags"]:
            flags |= pyruntime.spec.rules.scheduler.FLAGS[flag]
    return Step(
        "sched_setattr",
        "/process/scheduler",
        _PROCESS,
        policy=POLICIES[chosen["policy"]],
        sched_flags=flags,
        nice=chosen.get("nice", 0),
        priority=chosen.get("priority", 0),
        runtime=chosen.get("runtime", 0),
        deadline=chosen.get("deadline", 0),
        period=chosen.get("period", 0),
    )


def exec_affinity(process: "Process", kind: 'Literal["initial", "final"]') -> "Iterator[Step]":
    """Yield the CPUs that a process of exec is put on: `kind` is "initial", before it joins the cgroup, or "final".

    Raises Error for a CPU beyond any kernel's.

    Upholds config.md#linux-process/exec-affinity-final-kept.
    """
    text = (process.get("execCPUAffinity") or {}).get(kind)
    if text:
        pointer = f"/process/execCPUAffinity/{kind}"
        yield Step("sched_setaffinity", pointer, _PROCESS, cpus=_list(text, _CPU_LIMIT, "CPU", pointer, _PROCESS))


def _memory_nodes(text: str) -> "list[int]":
    return _list(text, _NODE_LIMIT, "memory node", "/linux/memoryPolicy/nodes", "config-linux.md#memory-policy")


def _list(text: str, limit: int, kind: str, pointer: str, clause: str) -> "list[int]":
    """Return the numbers of a list like "0-3,7". Raises Error for one that is not below `limit`."""
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if int(last or first) >= limit:
            raise Error(f"there is no {kind} {last or first}", pointer=pointer, clause=clause)
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers
