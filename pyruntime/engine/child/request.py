"""The input of engine/child/launch.py: the plan, descriptors and options of a process to make."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.engine.child.host_files import HostFiles
    from pyruntime.engine.child.step_array import StepArrays
    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.plan import Plan
    from pyruntime.protocol.orders import Orders


class Request:
    """The process to make.

    plan, arrays, host_files, cgroup   its plan, the plan's steps for the stub, the host's descriptors, its groups
    orders    what its init does (protocol/orders.py); None for a process of exec, which never needs Python
    console   socket that takes the terminal's master, or -1
    preserve  how many descriptors from 3 on its program inherits
    seccomp   the filter to load before the program, or None
    beside    pid of a process whose group it joins if the kernel refuses it in the container's own; 0 for none
    resctrl   the container's groups of resctrl, for a process of exec; None without
    copies    it has copies of the libraries in memory, because processes of the container could open the files
    """

    __slots__ = (
        "arrays",
        "beside",
        "cgroup",
        "console",
        "copies",
        "host_files",
        "orders",
        "plan",
        "preserve",
        "resctrl",
        "seccomp",
    )

    def __init__(
        self,
        plan: "Plan",
        arrays: "StepArrays",
        host_files: "HostFiles",
        cgroup: "Cgroup",
        *,
        orders: "Orders | None" = None,
        console: int = -1,
        preserve: int = 0,
        seccomp: "Filter | None" = None,
        beside: int = 0,
        resctrl: "dict[str, Any] | None" = None,
        copies: bool = False,
    ) -> None:
        self.plan = plan
        self.arrays = arrays
        self.host_files = host_files
        self.cgroup = cgroup
        self.orders = orders
        self.console = console
        self.preserve = preserve
        self.seccomp = seccomp
        self.beside = beside
        self.resctrl = resctrl
        self.copies = copies
