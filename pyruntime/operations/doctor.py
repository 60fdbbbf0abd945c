"""`doctor`: what this host can do for containers and what it lacks, for the calling user, with consequence and remedy.

It only reads: nothing on the host is changed, and no container is made.
"""

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.host import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The words of a finding, from good to bad. Only a FAULT keeps the usual containers from running.
OK, LACKS, FAULT = "ok", "lacks", "fault"

# System calls by number are the same on x86_64 and aarch64 from 424 on: syscalls(2). With these arguments each is
# refused before it has any effect. (name, number, arguments, Linux version, consequence, if all containers need it)
_CALLS = (
    ("clone3", 435, (0, 0), "5.3", "no container can be made", True),
    ("openat2", 437, (-1, 0, 0, 0), "5.6", "no container can be made", True),
    ("move_mount", 429, (-1, 0, -1, 0, 0), "5.2", "no container can be made", True),
    ("pidfd_open", 434, (-1, 0), "5.3", "no container can be made", True),
    ("close_range", 436, (1, 0, 0), "5.9", "no container can be made", True),
    ("mount_setattr", 442, (-1, 0, 0, 0, 0), "5.12", "no idmap, ridmap, rro and other recursive options", False),
    ("landlock_create_ruleset", 444, (0, 0, 0), "5.13", "no Landlock rules", False),
)
_ENOSYS, _EPERM = 38, 1

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_USEFUL = ("cpu", "cpuset", "io", "memory", "pids")


class Finding:
    """The result of one check.

    subject      "cgroups", "user namespaces"
    status       OK, LACKS or FAULT
    found        what the check has found
    consequence  what does not work; empty if nothing is missing
    remedy       what helps; empty if nothing does
    """

    __slots__ = ("consequence", "found", "remedy", "status", "subject")

    def __init__(self, subject: str, status: str, found: str, consequence: str = "", remedy: str = "") -> None:
        self.subject = subject
        self.status = status
        self.found = found
        self.consequence = consequence
        self.remedy = remedy

    def members(self) -> "dict[str, str]":
        """Return it as the members of a JSON object."""
        return {name: str(getattr(self, name)) for name in ("subject", "status", "found", "consequence", "remedy")}


class Host:
    """The host that the checks read; tests pass a substitute."""

    def __init__(self) -> None:
        self.euid = os.geteuid()
        self.user = os.environ.get("USER", "") or str(self.euid)
        self.environment = dict(os.environ)

    def read(self, path: str) -> "str | None":
        """Return the content of a file, or None."""
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Tell whether `path` exists."""
        return os.path.exists(path)

    def is_writable(self, path: str) -> bool:
        """Tell whether the effective user may write to `path`."""
        return os.access(path, os.W_OK, effective_ids=True)

    def find(self, program: str) -> str:
        """Return the path of a program, or ""."""
        return programs.find(program)

    def call(self, number: int, arguments: "tuple[int, ...]") -> int:
        """Return the errno of a system call that is made with arguments that it refuses."""
        return lib.pyr_errno_of(number, ffi.new("long[5]", arguments))


def examine(host: "Host | None" = None) -> "list[Finding]":
    """Return what is found on this host, the most important first."""
    host = Host() if host is None else host
    return [finding for check in _CHECKS for finding in check(host)]


def _kernel(host: Host) -> "Iterator[Finding]":
    release = (host.read("/proc/sys/kernel/osrelease") or "unknown").strip()
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if version < (5, 10):
        yield Finding("kernel", FAULT, f"Linux {release}", "pyruntime needs Linux 5.10", "boot a newer kernel")
    else:
        yield Finding("kernel", OK, f"Linux {release}")
    missing = []
    for name, number, arguments, since, consequence, needed in _CALLS:
        error = host.call(number, arguments)
        if error == _ENOSYS:
            missing.append(name)
            remedy = f"boot Linux {since} or later, or let the filter around this process pass {name}"
            yield Finding(f"system call {name}", FAULT if needed else LACKS, "ENOSYS", consequence, remedy)
        elif error == _EPERM and number not in (429, 442):
            missing.append(name)
            remedy = f"let the seccomp filter around this process pass {name}"
            yield Finding(f"system call {name}", FAULT if needed else LACKS, "EPERM", consequence, remedy)
    if not missing:
        yield Finding("system calls", OK, ", ".join(name for name, *_ in _CALLS))


def _namespaces(host: Host) -> "Iterator[Finding]":
    missing = [name for name in _NAMESPACES if not host.exists(f"/proc/self/ns/{name}")]
    for name in missing:
        yield Finding(f"{name} namespaces", LACKS, "the kernel has none", f"no namespace of type {name}", "")
    if not missing:
        yield Finding("namespaces", OK, ", ".join(_NAMESPACES))
    if (host.read("/proc/sys/user/max_user_namespaces") or "").strip() == "0":
        yield Finding(
            "user namespaces",
            LACKS if host.euid == 0 else FAULT,
            "user.max_user_namespaces is 0",
            "no container of an ordinary user, and none with a user namespace",
            "sysctl -w user.max_user_namespaces=15000",
        )
    if host.euid == 0:
        return
    for name, forbids in (("unprivileged_userns_clone", "0"), ("apparmor_restrict_unprivileged_userns", "1")):
        if (host.read(f"/proc/sys/kernel/{name}") or "").strip() == forbids:
            yield Finding(
                "user namespaces",
                FAULT,
                f"kernel.{name} is {forbids}",
                "no container of an ordinary user",
                f"sysctl -w kernel.{name}={1 - int(forbids)}",
            )


def _subordinate_ids(host: Host) -> "Iterator[Finding]":
    if host.euid == 0:
        return
    ranges = []
    for path in ("/etc/subuid", "/etc/subgid"):
        lines = [line.split(":") for line in (host.read(path) or "").splitlines()]
        mine = [line for line in lines if len(line) == 3 and line[0] in (host.user, str(host.euid))]
        if mine:
            ranges.append(f"{mine[0][2]} ids from {mine[0][1]} in {path}")
    helpers = [name for name in ("newuidmap", "newgidmap") if host.find(name)]
    if len(ranges) == 2 and len(helpers) == 2:
        yield Finding("subordinate ids", OK, "; ".join(ranges))
        return
    found = "; ".join(ranges) or f"none for {host.user}"
    yield Finding(
        "subordinate ids",
        LACKS,
        found if len(helpers) == 2 else f"{found}; newuidmap or newgidmap is not installed",
        "a container can have this user's own id alone",
        f"apt-get install uidmap, and usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {host.user}",
    )


def _cgroups(host: Host) -> "Iterator[Finding]":
    try:
        seen = pyruntime.host.cgroups.detect()
    except (OSError, Error) as error:
        yield Finding("cgroups", FAULT, str(error), "no limits and no container that asks for them", "mount /proc")
        return
    controllers = sorted({*seen.mounts, *seen.controllers} - {""})
    if not seen.mounts and not seen.unified:
        yield Finding("cgroups", FAULT, "none is mounted", "no limits", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        return
    found = f"{seen.mode}: {', '.join(controllers)}"
    missing = [name for name in _USEFUL if name not in (controllers if name != "io" else [*controllers, "io"])]
    if "blkio" not in controllers and "io" not in controllers:
        missing.append("io")
    if missing:
        yield Finding("cgroups", LACKS, found, f"no limits of {', '.join(missing)}", "enable the controllers at boot")
    else:
        yield Finding("cgroups", OK, found)
    group = seen.unified + seen.own.get("", "") if seen.unified else ""
    places = [group] if seen.mode == "v2" else [seen.mounts[name] + seen.own.get(name, "") for name in seen.mounts]
    closed = [place for place in places if not host.is_writable(place or "/")]
    if closed:
        remedy = (
            "log in with systemd, or: systemd-run --user --scope -p Delegate=yes SHELL"
            if host.euid
            else "mount the cgroups read-write"
        )
        yield Finding(
            "cgroup delegation",
            LACKS if host.euid else FAULT,
            f"{closed[0]} is not writable",
            "containers without cgroup limits, or through systemd (--systemd-cgroup)",
            remedy,
        )


def _systemd(host: Host) -> "Iterator[Finding]":
    bus = "/run/systemd/private"
    if host.euid:
        bus = f"{host.environment.get('XDG_RUNTIME_DIR', f'/run/user/{host.euid}')}/bus"
    if host.exists("/run/systemd/system") and host.exists(bus):
        yield Finding("systemd", OK, f"reached by {bus}")
    else:
        yield Finding("systemd", LACKS, f"no {bus}", "--systemd-cgroup fails", "leave out --systemd-cgroup")


def _security(host: Host) -> "Iterator[Finding]":
    modules = (host.read("/sys/kernel/security/lsm") or "").strip()
    labels = []
    if (host.read("/sys/module/apparmor/parameters/enabled") or "").strip() == "Y":
        labels.append("AppArmor")
    if host.exists("/sys/fs/selinux/enforce"):
        labels.append("SELinux")
    found = f"labels by {', '.join(labels)}" if labels else "no module that labels processes"
    if modules:
        found += f" (modules: {modules})"
    lacks = "a configuration with apparmorProfile or selinuxLabel is refused"
    yield Finding("security modules", OK if labels else LACKS, found, "" if labels else lacks)
    actions = (host.read("/proc/sys/kernel/seccomp/actions_avail") or "").split()
    if not actions:
        yield Finding("seccomp", LACKS, "the kernel has no filters", "a configuration with linux.seccomp is refused")
    elif "user_notif" not in actions:
        yield Finding("seccomp", LACKS, " ".join(actions), "no SCMP_ACT_NOTIFY", "boot Linux 5.0 or later")
    else:
        yield Finding("seccomp", OK, " ".join(actions))


def _seal(host: Host) -> "Iterator[Finding]":
    filesystems = (host.read("/proc/filesystems") or "").split()
    if "overlay" in filesystems or host.exists("/sys/module/overlay"):
        yield Finding("seal of the program", OK, "overlayfs")
    elif (host.read("/proc/sys/vm/memfd_noexec") or "").strip() == "2":
        yield Finding(
            "seal of the program",
            FAULT,
            "no overlayfs, and vm.memfd_noexec is 2",
            "the program cannot protect itself from a container, and refuses to run one",
            "modprobe overlay, or sysctl -w vm.memfd_noexec=1",
        )
    else:
        consequence = "each command copies the program into memory first, which takes about a millisecond"
        yield Finding("seal of the program", LACKS, "no overlayfs", consequence, "modprobe overlay")


def _checkpoint(host: Host) -> "Iterator[Finding]":
    found = host.find("criu")
    if found:
        yield Finding("CRIU", OK, found)
    else:
        yield Finding("CRIU", LACKS, "not installed", "no checkpoint and restore", "apt-get install criu")


def _state(host: Host) -> "Iterator[Finding]":
    runtime = host.environment.get("XDG_RUNTIME_DIR", "")
    place = runtime if host.euid and runtime else "/run"
    if host.is_writable(place):
        yield Finding("state directory", OK, f"below {place}")
    else:
        remedy = "pass --root DIR" if host.euid else "mount /run read-write, or pass --root DIR"
        yield Finding("state directory", FAULT, f"{place} is not writable", "no container can be made", remedy)


_CHECKS: "tuple[Callable[[Host], Iterator[Finding]], ...]" = (
    _kernel,
    _namespaces,
    _subordinate_ids,
    _cgroups,
    _systemd,
    _security,
    _seal,
    _state,
    _checkpoint,
)
