"""Scheduling and CPU affinity of the process (config.md#linux-process)."""

from pyruntime.base.errors import Error
from pyruntime.spec.rules.lists import is_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Process

CLAUSE = "config.md#linux-process"
# <linux/sched.h>
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
_REALTIME = ("SCHED_FIFO", "SCHED_RR")


def scheduler(process: "Process", at: str = "") -> "Iterator[Error]":
    """Each property belongs to the policies that use it: sched_setattr(2) refuses or ignores it elsewhere."""
    if "scheduler" not in process:
        return
    settings = process["scheduler"]
    policy, priority = settings["policy"], settings.get("priority", 0)
    if policy in _REALTIME and not priority:
        yield Error(
            f"{policy} has no priority",
            "expected a static priority from 1 to 99",
            pointer=f"{at}/scheduler/priority",
            value=priority,
            clause=CLAUSE,
        )
    if policy not in _REALTIME and priority:
        yield Error(
            f"{policy} has the priority {priority}",
            "expected none: only SCHED_FIFO and SCHED_RR have one",
            pointer=f"{at}/scheduler/priority",
            value=priority,
            clause=CLAUSE,
        )
    runtime, deadline = settings.get("runtime", 0), settings.get("deadline", 0)
    period = settings.get("period", 0)
    if policy != "SCHED_DEADLINE":
        for name, value in (("runtime", runtime), ("deadline", deadline), ("period", period)):
            if value:
                yield Error(
                    f"{policy} has a {name}",
                    "expected none: only SCHED_DEADLINE has one",
                    pointer=f"{at}/scheduler/{name}",
                    value=value,
                    clause=CLAUSE,
                )
    elif not 0 < runtime <= deadline <= (period or deadline):
        yield Error(
            f"SCHED_DEADLINE has runtime {runtime}, deadline {deadline} and period {period}",
            "expected 0 < runtime <= deadline <= period",
            pointer=f"{at}/scheduler",
            value=settings,
            clause=CLAUSE,
        )


def exec_cpu_affinity(process: "Process", at: str = "") -> "Iterator[Error]":
    """Both affinities are lists of CPUs."""
    affinity = process["execCPUAffinity"]
    for name, value in (("initial", affinity.get("initial", "")), ("final", affinity.get("final", ""))):
        if not is_list(value):
            yield Error(
                f'process.execCPUAffinity.{name} is "{value[:60]}"',
                'expected a list of CPUs like "0-3,7"',
                pointer=f"{at}/execCPUAffinity/{name}",
                value=value,
                clause=CLAUSE,
            )
