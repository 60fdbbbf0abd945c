"""A plan: the steps of create and start in their order, grouped by the process that carries them out."""

from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.cgroup.cgroup import CgroupPlan

# The kinds of hooks, in the order of the lifecycle (runtime.md#lifecycle).
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class Plan:
    """What will be done for a configuration.

    cgroup      the container's cgroup and its limits                       host, before the process exists
    resctrl     groups of Intel RDT                                         host, before the process exists
    affinity    "sched_setaffinity", of exec alone                          host, before the process exists
    namespaces  "clone" and "setns"                                         stub
    maps        "uid_map", "gid_map", "timens_offsets"                      host and stub
    net_devices "move_net_device"                                           host
    build       the root filesystem                                         stub
    hooks       kind -> "hook" steps                                        host, or init for those in the container
    enter       hidden paths, pivot_root                                    stub
    limits      "prlimit", "oom_score_adj"                                  host
    labels      "label": what the next execve changes to                    init
    process     identity and privileges of the container's process          init
    landlock    "landlock_…"                                                init, enforced at start
    filter      "seccomp", in this list alone                               host, and init at start
    execute     "execve"                                                    init, at start
    warnings    what runtime.md#warnings wants logged
    """

    __slots__ = (
        "affinity",
        "build",
        "cgroup",
        "enter",
        "execute",
        "filter",
        "hooks",
        "labels",
        "landlock",
        "limits",
        "maps",
        "namespaces",
        "net_devices",
        "process",
        "resctrl",
        "warnings",
    )

    def __init__(self, cgroup: "CgroupPlan") -> None:
        self.cgroup = cgroup
        self.resctrl: list[Step] = []
        self.affinity: list[Step] = []
        self.namespaces: list[Step] = []
        self.maps: list[Step] = []
        self.net_devices: list[Step] = []
        self.build: list[Step] = []
        self.hooks: dict[str, list[Step]] = {kind: [] for kind in HOOKS}
        self.enter: list[Step] = []
        self.limits: list[Step] = []
        self.labels: list[Step] = []
        self.process: list[Step] = []
        self.landlock: list[Step] = []
        self.filter: list[Step] = []
        self.execute: list[Step] = []
        self.warnings: list[str] = []

    def sections(self) -> "Iterator[tuple[str, str, list[Step]]]":
        """Yield (title, who carries it out, steps) in the order of the lifecycle (runtime.md#lifecycle)."""
        yield "cgroup and its limits", "host", self.cgroup.explain()
        yield "Intel RDT", "host", self.resctrl
        yield "CPU affinity", "host", self.affinity
        yield "namespaces", "stub", self.namespaces
        yield "id maps and clocks", "host", self.maps
        yield "network devices", "host", self.net_devices
        yield "root filesystem", "stub", self.build
        yield "prestart hooks", "host", self.hooks["prestart"]
        yield "createRuntime hooks", "host", self.hooks["createRuntime"]
        yield "createContainer hooks", "init", self.hooks["createContainer"]
        yield "hidden paths and the new root", "stub", self.enter
        yield "limits of the process", "host", self.limits
        yield "labels", "init", self.labels
        yield "the process", "init", self.process
        yield "Landlock", "init", self.landlock
        yield "system call filter", "init", self.filter
        yield "startContainer hooks", "init", self.hooks["startContainer"]
        yield "program", "init", self.execute
        yield "poststart hooks", "host", self.hooks["poststart"]
        yield "poststop hooks", "host", self.hooks["poststop"]

    def maps_root(self) -> bool:
        """Tell whether uid and gid 0 exist in the new user namespace."""
        return all(
            any(line.startswith("0 ") for line in step.args["text"].splitlines())
            for step in self.maps
            if step.op in ("uid_map", "gid_map")
        )

    def phases(self) -> "Iterator[tuple[str, list[Step]]]":
        """Yield (who carries it out, steps) in the order of the lifecycle (runtime.md#lifecycle)."""
        for _, where, steps in self.sections():
            yield where, steps

    def steps(self) -> "Iterator[Step]":
        """Yield every step in the order of the lifecycle."""
        for _, steps in self.phases():
            yield from steps
