"""What this host is and allows: capabilities, user, cgroups, kernel. Read once, handed to the plan."""

import os

from pyruntime.plan.capabilities import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.host.cgroups import CgroupHost


class Facts:
    """The host as the plan sees it.

    cgroup              the cgroup hierarchies (host/cgroups.py)
    euid                the runtime's effective user id
    capabilities        the runtime's permitted capabilities, a bit mask
    known_capabilities  those that this kernel has at all, a bit mask
    in_user_namespace   the runtime itself runs in a user namespace that is not the initial one
    apparmor, selinux   the security module is enabled
    """

    __slots__ = ("apparmor", "capabilities", "cgroup", "euid", "in_user_namespace", "known_capabilities", "selinux")

    def __init__(
        self,
        cgroup: "CgroupHost",
        *,
        euid: int,
        capabilities: int,
        known_capabilities: int,
        in_user_namespace: bool,
        apparmor: bool = False,
        selinux: bool = False,
    ) -> None:
        self.cgroup = cgroup
        self.euid = euid
        self.capabilities = capabilities
        self.known_capabilities = known_capabilities
        self.in_user_namespace = in_user_namespace
        self.apparmor = apparmor
        self.selinux = selinux

    def holds(self, capability: str) -> bool:
        """Tell whether the runtime has `capability`, for example "CAP_SYS_ADMIN"."""
        return bool(self.capabilities >> NUMBERS[capability] & 1)


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _apparmor() -> bool:
    try:
        return _read("/sys/module/apparmor/parameters/enabled").strip() == b"Y"
    except OSError:
        return False


def facts() -> Facts:
    """Look at this host (capabilities(7), user_namespaces(7))."""
    from pyruntime._stub import ffi, lib
    from pyruntime.host import cgroups

    sets = ffi.new("uint64_t[3]")
    lib.pyr_capget(sets, sets + 1, sets + 2)
    last = int(_read("/proc/sys/kernel/cap_last_cap"))
    # The initial user namespace maps every id to itself.
    identity = _read("/proc/self/uid_map").split() == [b"0", b"0", b"4294967295"]
    return Facts(
        cgroups.detect(),
        euid=os.geteuid(),
        capabilities=sets[1],
        known_capabilities=(1 << (last + 1)) - 1,
        in_user_namespace=not identity,
        apparmor=_apparmor(),
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
    )
