"""Reads the facts about this host for the plan, once: capabilities, user, cgroups, kernel."""

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan.facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.facts import CgroupHost


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


def _last_capability() -> int:
    """Return the number of the last capability that this kernel has."""
    try:
        return int(_read("/proc/sys/kernel/cap_last_cap"))
    except FileNotFoundError:
        pass  # a procfs with subset=pid (proc(5))
    last = 0
    while last < 63 and lib.pyr_prctl(lib.PR_CAPBSET_READ, last + 1, 0) >= 0:
        last += 1
    return last


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
    """Return the facts about this host and process (capabilities(7), user_namespaces(7)).

    hierarchies  those of cgroups; None reads them, which is half of the work

    Raises Error if the kernel does not tell the capabilities of this process.
    """
    sets = ffi.new("uint64_t[3]")
    failed = lib.pyr_capget(sets, sets + 1, sets + 2)
    if failed < 0:
        # Without this answer it would be none, and the container's process would have none either.
        raise Error("cannot find out the runtime's capabilities", step="capget", errno=-failed)
    last = _last_capability()
    # The initial user namespace maps every id to itself.
    identity = _read("/proc/self/uid_map").split() == [b"0", b"0", b"4294967295"]
    return Facts(
        pyruntime.host.cgroups.detect() if hierarchies is None else hierarchies,
        euid=os.geteuid(),
        capabilities=sets[1],
        known_capabilities=(1 << (last + 1)) - 1,
        in_user_namespace=not identity,
        setgroups=identity or not _read("/proc/self/setgroups").startswith(b"deny"),
        apparmor=_apparmor(),
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
        mount_setattr=bool(lib.pyr_has_mount_setattr()),
        landlock=lib.pyr_landlock_abi,
        rootless=None if identity else _has_systemd_of_its_own(),
    )
