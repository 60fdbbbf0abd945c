"""What this host is and allows: capabilities, user, cgroups, kernel. Read once, handed to the plan."""

from pyruntime.base import lean_os as os
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
    mount_setattr       the kernel has that system call (Linux 5.12)
    landlock            the version of Landlock's interface (landlock(7)), 0 without; asked for when it is needed
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
    )

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
        mount_setattr: bool = True,
        landlock: int | None = None,
        rootless: bool | None = None,
    ) -> None:
        self.cgroup = cgroup
        self.euid = euid
        self.capabilities = capabilities
        self.known_capabilities = known_capabilities
        self.in_user_namespace = in_user_namespace
        self.apparmor = apparmor
        self.selinux = selinux
        self.mount_setattr = mount_setattr
        self._landlock = landlock
        self.rootless = euid != 0 if rootless is None else rootless

    @property
    def landlock(self) -> int:
        """Return the version of Landlock's interface, 0 where the kernel has none."""
        if self._landlock is None:
            from pyruntime._stub import lib

            self._landlock = int(lib.pyr_landlock_abi())
        return self._landlock

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


def _has_systemd_of_its_own() -> bool:
    """Whether root of a user namespace is a user of the host with a systemd of its own, as under rootless Podman.

    Otherwise it is root of a container with a systemd, whose services have no bus of a session.
    """
    if os.geteuid() != 0:
        return True
    environment = os.environ
    return environment.get("USER") != "root" and bool(
        environment.get("DBUS_SESSION_BUS_ADDRESS") or os.path.exists(f"{environment.get('XDG_RUNTIME_DIR')}/bus")
    )


def facts(hierarchies: "CgroupHost | None" = None) -> Facts:
    """Look at this host (capabilities(7), user_namespaces(7)).

    hierarchies  those of cgroups; None looks for them, which is half of the work
    """
    from pyruntime._stub import ffi, lib
    from pyruntime.host import cgroups

    sets = ffi.new("uint64_t[3]")
    lib.pyr_capget(sets, sets + 1, sets + 2)
    last = int(_read("/proc/sys/kernel/cap_last_cap"))
    # The initial user namespace maps every id to itself.
    identity = _read("/proc/self/uid_map").split() == [b"0", b"0", b"4294967295"]
    return Facts(
        cgroups.detect() if hierarchies is None else hierarchies,
        euid=os.geteuid(),
        capabilities=sets[1],
        known_capabilities=(1 << (last + 1)) - 1,
        in_user_namespace=not identity,
        apparmor=_apparmor(),
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
        mount_setattr=bool(lib.pyr_has_mount_setattr()),
        rootless=None if identity else _has_systemd_of_its_own(),
    )
