"""The facts about the host that a plan needs: plain data, filled in by host/, so that a test can invent a host."""

from pyruntime.plan.capabilities import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class CgroupHost:
    """The cgroup hierarchies of the host (cgroups(7)).

    mode         "v2": only the unified hierarchy carries controllers; "hybrid": v1 hierarchies and a unified one
                 beside them; "v1": no unified hierarchy
    mounts       v1 controller -> mount point; co-mounted controllers share one; a named hierarchy is "name=systemd"
    unified      mount point of the cgroup2 file system, or ""
    own          controller -> this process's own group as a path below that mount point; "" is the unified hierarchy
    controllers  controllers that the unified hierarchy offers
    """

    __slots__ = ("controllers", "mode", "mounts", "own", "unified")

    def __init__(
        self,
        mode: str,
        mounts: dict[str, str],
        unified: str = "",
        own: dict[str, str] | None = None,
        controllers: "frozenset[str]" = frozenset(),
    ) -> None:
        self.mode = mode
        self.mounts = mounts
        self.unified = unified
        self.own = own if own is not None else {}
        self.controllers = controllers


class Facts:
    """The host as the plan sees it.

    cgroup              the cgroup hierarchies
    euid                the runtime's effective user id
    capabilities        the runtime's permitted capabilities, a bit mask
    known_capabilities  those that this kernel has at all, a bit mask
    in_user_namespace   the runtime itself runs in a user namespace that is not the initial one
    setgroups           that namespace allows setgroups(2); so the ones below it do (user_namespaces(7))
    apparmor, selinux   the security module is enabled
    mount_setattr       the kernel has that system call (Linux 5.12)
    landlock            the version of Landlock's interface (landlock(7)), 0 without; a function is called when it is
                        needed
    rootless            the systemd to ask for cgroups is the user's own; what is not said follows from euid
    """

    __slots__ = (
        "_landlock",
        "apparmor",
        "capabilities",
        "cgroup",
        "euid",
        "in_user_namespace",
        "known_capabilities",
        "mount_setattr",
        "rootless",
        "selinux",
        "setgroups",
    )

    def __init__(
        self,
        cgroup: CgroupHost,
        *,
        euid: int,
        capabilities: int,
        known_capabilities: int,
        in_user_namespace: bool,
        setgroups: bool = True,
        apparmor: bool = False,
        selinux: bool = False,
        mount_setattr: bool = True,
        landlock: "int | Callable[[], int]" = 0,
        rootless: bool | None = None,
    ) -> None:
        self.cgroup = cgroup
        self.euid = euid
        self.capabilities = capabilities
        self.known_capabilities = known_capabilities
        self.in_user_namespace = in_user_namespace
        self.setgroups = setgroups
        self.apparmor = apparmor
        self.selinux = selinux
        self.mount_setattr = mount_setattr
        self._landlock = landlock
        self.rootless = euid != 0 if rootless is None else rootless

    @property
    def landlock(self) -> int:
        """Return the version of Landlock's interface, 0 where the kernel has none."""
        if not isinstance(self._landlock, int):
            self._landlock = self._landlock()
        return self._landlock

    def holds(self, capability: str) -> bool:
        """Tell whether the runtime has `capability`, for example "CAP_SYS_ADMIN"."""
        return bool(self.capabilities >> NUMBERS[capability] & 1)
