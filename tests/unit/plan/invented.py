"""Invented hosts and configurations, so that plans are compiled without looking at this machine."""

from pyruntime.plan.capabilities import ALL, NUMBERS
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.facts import CgroupHost, Facts

V1 = CgroupHost(
    "v1", {name: f"/sys/fs/cgroup/{name}" for name in ("cpu", "cpuset", "memory", "devices", "pids", "blkio")}
)
V2 = CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/user.slice"}, frozenset(["cpu", "cpuset", "memory", "pids", "io"]))
NAMESPACES = ("pid", "network", "ipc", "uts", "mount")


def facts(cgroup=V1, *, lacking=(), **values):
    """Return the facts of a host whose root has all capabilities but `lacking`."""
    held = ALL
    for name in lacking:
        held &= ~(1 << NUMBERS[name])
    return Facts(
        cgroup,
        **{
            "euid": 0,
            "capabilities": held,
            "known_capabilities": ALL,
            "in_user_namespace": False,
            "landlock": 7,
            **values,
        },
    )


def config(namespaces=NAMESPACES, process=None, linux=None, **top):
    """Return a small configuration; `linux` and `process` are merged into it."""
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/", **(process or {})},
        "linux": {"namespaces": [{"type": kind} for kind in namespaces], **(linux or {})},
        **top,
    }


def context(configuration=None, host=None, **options):
    return Context(configuration or config(), host or facts(), "/bundle", "c1", **options)


def plan(configuration=None, host=None, **options):
    """Return the compiled plan."""
    return compile_plan(context(configuration, host, **options))


def only(steps, op):
    """Return the steps with operation `op`."""
    return [step for step in steps if step.op == op]


def at(steps, path):
    """Return the steps that act on `path`."""
    return [step for step in steps if step.args.get("path") == path]
