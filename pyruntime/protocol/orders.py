"""What the host passes to init: an object, because Python's init is a copy of the host process.

If `needs_python` is false, csrc/stub/init.c is init, and gets the same in `struct spawn` (csrc/stub/plan.h).
"""

from pyruntime.base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pyruntime.plan.plan import Plan

    class Filter(Protocol):
        """The filter that init loads: engine/seccomp/filter.py."""

        listener: int
        raw: Any

        def address(self, pid: int, state: "dict[str, object]") -> None:
            """Write what the agent gets with the listener."""


class Orders:
    """What the host passes to init.

    plan          the plan
    gate          listening socket of the start gate
    at_once       the host sends the start message over its socket to init, not through the gate
    preserve_fds  how many descriptors from 3 on the program inherits
    state         the state passed to hooks
    lock          descriptor that locks the container for create, or -1
    seccomp       the filter to load before the program, or None
    hook_files    files that annotations name for the output of hooks in the container: stdout and stderr, -1 for none

    Added when the process is made (engine/child/launch.py):
    main          the function of init/main.py
    stub          `struct stub` of the steps that built the root filesystem
    enter, labels, process   arrays of these steps of the plan; Landlock's follow those of the process
    execution     `struct execution`, NULL where the container has no process
    sync          socket to the host's create
    late          the host moves init into the group that limits its memory only when init is ready
    crosses       the pid namespace is another container's: a sibling continues after the host's resources are closed
    signals       descriptor of the signals that end init while it waits at the gate
    """

    __slots__ = (
        "at_once",
        "crosses",
        "enter",
        "execution",
        "gate",
        "hook_files",
        "labels",
        "late",
        "lock",
        "main",
        "plan",
        "preserve_fds",
        "process",
        "seccomp",
        "signals",
        "state",
        "stub",
        "sync",
    )

    def __init__(
        self,
        plan: "Plan",
        *,
        gate: int,
        preserve_fds: int,
        state: "dict[str, object]",
        at_once: bool = False,
        lock: int = -1,
        seccomp: "Filter | None" = None,
        hook_files: "tuple[int, int]" = (-1, -1),
    ) -> None:
        self.plan = plan
        self.main: Callable[[Orders], None]
        self.stub: Any = None
        self.enter: Any = None
        self.labels: Any = None
        self.process: Any = None
        self.execution: Any = None
        self.sync = -1
        self.late = False
        self.crosses = False
        self.signals = -1
        self.gate = gate
        self.at_once = at_once
        self.preserve_fds = preserve_fds
        self.state = state
        self.lock = lock
        self.seccomp = seccomp
        self.hook_files = hook_files

    def needs_python(self) -> bool:
        """Tell whether init has something to do that the stub cannot do.

        Python is needed to run a hook in the container, to send an agent the filter's listener with a state that has
        init's pid, to report that there is no program, and to send events (`--debug`, `--trace`).
        """
        hooks = self.plan.hooks
        return bool(
            hooks["createContainer"]
            or hooks["startContainer"]
            or (self.seccomp is not None and self.seccomp.listener >= 0)
            or not self.plan.execute
            or log.events is not None
        )
