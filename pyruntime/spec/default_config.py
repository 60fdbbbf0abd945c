"""The config.json that `pyruntime spec` writes: a shell with few rights, to start from."""

from pyruntime import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    JSON = dict[str, Any]

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_MOUNTS = (
    # destination, type, source, options
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)
# Files that tell about the host or act on it, in filesystems that every container sees.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def default_config(*, cgroup_namespace: bool = True) -> "JSON":
    """Return a configuration that runs `sh` on a terminal in the bundle's `rootfs`.

    cgroup_namespace  with a cgroup namespace of its own, as runc's has it where the host has cgroup v2 alone
    """
    names = [*_NAMESPACES, "cgroup"] if cgroup_namespace else _NAMESPACES
    return {
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyruntime",
        "mounts": [
            {"destination": destination, "type": fstype, "source": source, "options": list(options)}
            for destination, fstype, source, options in _MOUNTS
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in names],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def for_user(config: "JSON", uid: int, gid: int) -> "JSON":
    """Return `config` changed so that the user `uid`, of group `gid`, can run it without being root.

    It gets a user namespace in which that user is root and no other id is mapped. What such a root may not do is
    removed: a new network namespace (no user could connect it), cgroup limits, a sysfs (needs the network namespace, so
    the host's is bound), and mount options that name other ids.
    """
    linux = {name: value for name, value in config["linux"].items() if name != "resources"}
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] not in ("network", "user")]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    return {**config, "mounts": [_user_mount(mount) for mount in config["mounts"]], "linux": linux}


def _user_mount(mount: "JSON") -> "JSON":
    """Return `mount` as an ordinary user can make it."""
    if mount["type"] == "sysfs":
        return {**mount, "type": "none", "source": "/sys", "options": ["rbind", *mount["options"]]}
    options = [option for option in mount["options"] if not option.startswith(("uid=", "gid="))]
    return {**mount, "options": options}
