"""Makes a config.json from the arguments of a sandbox."""

import os
from typing import Any

from pyruntime import SPEC_VERSION
from pyruntime.sandbox.landlock import ruleset
from pyruntime.sandbox.root import AGENT, WORKSPACE
from pyruntime.sandbox.settings import Settings

_NAMESPACES = ("user", "pid", "mount", "ipc", "uts", "cgroup")
_MASKED = (
    *(
        "/proc/acpi",
        "/proc/asound",
        "/proc/driver",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
    ),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware", "/sys/kernel"),
)
_PLAIN = ("nosuid", "noexec", "nodev")
# The first ids of a range that no user of a host has (unused in systemd's table of ids).
_FIRST_ID, _RANGES = 0x70000000, 4096


def ids(settings: Settings) -> "dict[str, Any]":
    """Return the mappings of the user namespace.

    Root gets a range of ids that no user has. An ordinary user gets its own id, which needs no helper, so that it can
    exchange files with the sandbox.
    """
    if os.geteuid() == 0:
        first = _FIRST_ID + settings.range % _RANGES * 65536
        mapping = [{"containerID": 0, "hostID": first, "size": 65536}]
        return {"uidMappings": mapping, "gidMappings": mapping}
    return {
        "uidMappings": [{"containerID": settings.uid, "hostID": os.geteuid(), "size": 1}],
        "gidMappings": [{"containerID": settings.gid, "hostID": os.getegid(), "size": 1}],
    }


def owner(settings: Settings) -> "tuple[int, int]":
    """Return the ids that the program has on the host."""
    found = ids(settings)
    uid, gid = found["uidMappings"][0], found["gidMappings"][0]
    return (
        uid["hostID"] + settings.uid - uid["containerID"],
        gid["hostID"] + settings.gid - gid["containerID"],
    )


def config(
    settings: Settings, rootfs: str, binds: "list[dict[str, Any]]", agent: str, unlimited: "tuple[str, ...]" = ()
) -> "dict[str, Any]":
    """Return the configuration.

    rootfs     the skeleton
    binds      of the root's directories
    agent      path of the program that is the container's first process
    unlimited  limits that are left out
    """
    namespaces: list[dict[str, str]] = [{"type": name} for name in _NAMESPACES]
    namespaces.append({"type": "network", "path": settings.network} if settings.network else {"type": "network"})
    linux: dict[str, Any] = {
        **ids(settings),
        "namespaces": namespaces,
        "resources": _resources(settings, unlimited),
        "maskedPaths": [*_MASKED, *settings.hide],
        "readonlyPaths": ["/proc/sys"],
    }
    if settings.seccomp is not None:
        linux["seccomp"] = settings.seccomp
    found: dict[str, Any] = {
        "ociVersion": SPEC_VERSION,
        "process": {
            "user": {"uid": settings.uid, "gid": settings.gid},
            "args": [AGENT],
            "env": [],
            "cwd": WORKSPACE,
            "noNewPrivileges": True,
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ],
        },
        "root": {"path": rootfs, "readonly": True},
        "hostname": settings.hostname,
        "mounts": [*binds, *_mounts(settings, agent)],
        "linux": linux,
    }
    if os.geteuid() == 0:
        # If the whole host runs out of memory. An ordinary user may not set this for a process that is not dumpable.
        found["process"]["oomScoreAdj"] = 500
    if settings.landlock:
        found["annotations"] = ruleset(settings)
    return found


def _resources(settings: Settings, unlimited: "tuple[str, ...]") -> "dict[str, Any]":
    found: dict[str, Any] = {}
    if settings.memory is not None and "memory" not in unlimited:
        found["memory"] = {"limit": settings.memory, "swap": settings.memory}
    if settings.cpus is not None and "cpus" not in unlimited:
        found["cpu"] = {"period": 100000, "quota": max(1000, round(settings.cpus * 100000))}
    if settings.pids is not None and "pids" not in unlimited:
        found["pids"] = {"limit": settings.pids + 1}  # with the container's first process
    return found


def _tmpfs(destination: str, settings: Settings, size: int, *options: str) -> "dict[str, Any]":
    owner = (f"uid={settings.uid}", f"gid={settings.gid}")
    bounds = (f"size={size}", f"nr_inodes={max(1024, min(size // 1024, 262144))}")
    options = ("nosuid", "nodev", *options, *owner, *bounds)
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def _mounts(settings: Settings, agent: str) -> "list[dict[str, Any]]":
    size = settings.disk
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": list(_PLAIN)},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "mode=755", "size=64k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        _tmpfs("/dev/shm", settings, size, "noexec", "mode=1777"),
        _tmpfs("/tmp", settings, size, "mode=1777"),
        _tmpfs(WORKSPACE, settings, size, "mode=700"),
        {"destination": AGENT, "type": "bind", "source": agent, "options": ["bind", "ro", "nosuid", "nodev"]},
        *(
            {
                "destination": destination,
                "type": "bind",
                "source": source,
                "options": ["rbind", "rrw" if writable else "rro", "nosuid", "nodev"],
            }
            for source, destination, writable in settings.mounts
        ),
    ]
