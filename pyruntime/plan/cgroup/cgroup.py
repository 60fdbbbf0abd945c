"""The container's control groups: where they are and what is written into them (config-linux.md#control-groups)."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join
from pyruntime.plan.cgroup import device_rules
from pyruntime.plan.step import Step
from pyruntime.spec.rules.version import semver

CLAUSE = "config-linux.md#cgroups-path"
POINTER = "/linux/cgroupsPath"
UNIFIED = ""  # key of the unified hierarchy among the controllers of v1
TIGHT = 4 << 20  # bytes: so little memory that it matters whose limit init's own is charged to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.plan.cgroup.systemd import SystemdUnit
    from pyruntime.plan.facts import CgroupHost
    from pyruntime.spec.json_types import Config, IDMapping, Linux, Resources


class CgroupPlan:
    """Everything the cgroup drivers need.

    mode      the host's: "v1", "hybrid" or "v2"
    path      the path asked for, or the default, as it is written in messages
    pointer   of the path in config.json, or "" for the default; `clause` is the path's too
    groups    controller -> (mount point, path below it) of the container's group; "" is the unified hierarchy
    steps     what is written, in the order in which the kernel accepts it. Ops and their args:
              write_cgroup          controller, file, value; and where they apply
                                    instead=[[file, value]]  other ways, where the kernel has no `file`
                                    optional=True            nothing is lost where the kernel has no `file`
                                    again_after=file         the kernel may refuse until `file` is written: try again
                                    kept=True                the kernel may take it without effect: read it again
                                    levels=True              also in each parent made for this container, top first
                                    needs=text               what the kernel lacks where it has no `file`
              check_memory_usage    controller, limit (bytes): refuse a limit below what is used now
              attach_device_filter  controller, rules: lists of allow, type, major, minor, access
              chown_cgroup          uid: give the group to this user of the host
    enable    controllers that the unified hierarchy must offer inside the group
    required  whether config.json asks for a path or a limit; without it an unprivileged caller may go without
    unit      the systemd unit that systemd makes the group for, or None: this runtime makes it
    delegate  "delegate_cgroup": make a group below for the container's process, and give it to this user of the host;
              None: the process is in the container's group itself
    tight     where the memory limit is_tight(), unless init copies a part of the image: (controller, file). Init joins
              the group of that controller only when it is ready, and leaves it until then by writing to that file
    """

    __slots__ = (
        *("clause", "delegate", "enable", "groups", "mode", "path", "pointer", "required", "steps", "tight", "unit"),
    )

    def __init__(
        self,
        mode: str,
        path: str,
        groups: dict[str, tuple[str, str]],
        steps: list[Step],
        enable: list[str],
        required: bool,
        pointer: str = "",
        unit: "SystemdUnit | None" = None,
    ) -> None:
        self.mode = mode
        self.path = path
        self.pointer = pointer
        self.clause = CLAUSE
        self.groups = groups
        self.steps = steps
        self.enable = enable
        self.required = required
        self.unit = unit
        self.tight: tuple[str, str] | None = None
        self.delegate: Step | None = None

    @property
    def asked_by(self) -> str:
        """Return the pointer of what needs a group of its own: the path or the first limit; "" if nothing does."""
        limits = (step.pointer for step in self.steps if not step.pointer.startswith(device_rules.POINTER))
        return self.pointer or next(limits, "")

    def explain(self) -> list[Step]:
        """All steps as `pyruntime plan` prints them: the groups to make, then `steps`."""
        last = [self.delegate] if self.delegate is not None else []
        if self.unit is not None:
            return [*self.unit.explain(self.pointer), *self.steps, *last]
        made: dict[str, list[str]] = {}
        for controller, (mountpoint, path) in self.groups.items():
            made.setdefault(mountpoint + path, []).append(controller or "unified")
        return [
            Step("mkdir_cgroup", self.pointer, self.clause, path=path, controllers=controllers)
            for path, controllers in made.items()
        ] + [*self.steps, *last]


def compile_cgroup(
    config: "Config", host: "CgroupHost", container_id: str, *, systemd: bool = False, rootless: bool = False
) -> CgroupPlan:
    """Compile linux.cgroupsPath and linux.resources for this host; no I/O.

    systemd   let systemd make the group
    rootless  with `systemd`: the user's own one
    Raises Error for a path or a value that cannot be, and for a limit whose controller the host does not have.

    Upholds config-linux.md#cgroup-ownership/not-on-v1.
    """
    linux: Linux = config.get("linux") or {}
    resources: Resources = linux.get("resources") or {}
    configured = linux.get("cgroupsPath") or ""
    if not host.mounts and not host.unified:
        raise Error(
            "cannot make the container's cgroup",
            "no cgroup hierarchy is mounted",
            clause="config-linux.md#control-groups",
        )
    if not systemd:
        groups, shown = _locate(configured, host, container_id)

    if (resources.get("pids") or {}).get("limit") == 0 and _before_zero_was_a_limit(config):
        resources = {**resources, "pids": {"limit": -1}}
    limits: list[Step] = []
    enable: list[str] = []
    if any(value for name, value in resources.items() if name != "devices"):
        limits, enable = pyruntime.plan.cgroup.limits.compile_limits(resources, host)

    ordered = device_rules.rules(config)
    if "devices" in host.mounts:
        steps = device_rules.v1_steps(ordered)
    elif host.unified:
        steps = [device_rules.filter_step(ordered)]
    else:
        raise Error(
            "cannot set the allowed device list",
            "the host has neither the devices controller nor a unified hierarchy",
            pointer=device_rules.POINTER if resources.get("devices") else "",
            clause=device_rules.CLAUSE,
        )
    steps += limits
    if host.mode == "v2":
        steps += _ownership(config, linux)
    required = bool(configured or limits)
    unit = None
    if systemd:
        unit, path = pyruntime.plan.cgroup.systemd.compile_unit(config, host, container_id, limits, rootless)
        groups, shown, required = {UNIFIED: (host.unified, path + unit.subgroup)}, configured or unit.name, True
    pointer = POINTER if configured else ""
    plan = CgroupPlan(host.mode, shown, groups, steps, enable, required, pointer, unit)
    if config.get("annotations"):
        plan.delegate = _delegate(config, host, steps)
        plan.required = plan.required or plan.delegate is not None
    if is_tight(resources) and not _copies(config):
        controller, file = ("memory", "tasks") if "memory" in host.mounts else (UNIFIED, "cgroup.procs")
        own = host.own.get(controller, "/").rstrip("/")
        plan.tight = controller, f"{host.mounts.get(controller, host.unified)}{own}/{file}"
    return plan


def _before_zero_was_a_limit(config: "Config") -> bool:
    """Tell whether the configuration is of a time in which pids.limit 0 meant that there is none.

    Podman of Debian 12 writes it so for `--pids-limit -1`. Version 1.3.0 of the spec made it a limit.
    """
    version = semver(config.get("ociVersion", ""))
    return version is not None and version < (1, 3, 0)


def is_tight(resources: "Resources") -> bool:
    """Tell whether the memory limit is too low for init, which is unusual.

    Init is a copy of the runtime and touches some hundred KiB of it before the program takes its place. Whoever
    touches memory is charged for it, by the group that it is in at that moment.
    """
    memory, unified = resources.get("memory"), resources.get("unified")
    limit: object = (memory or {}).get("limit")
    if limit is None and unified:
        text = unified.get("memory.max", "")
        limit = int(text) if text.isdecimal() else None
    return isinstance(limit, int) and 0 < limit < TIGHT


def _copies(config: "Config") -> bool:
    """Tell whether init fills a tmpfs from the image: this is memory of the container, and may be any amount."""
    return any("tmpcopyup" in (mount.get("options") or ()) for mount in config.get("mounts") or ())


def compile_update(resources: "Resources", host: "CgroupHost", paths: dict[str, str]) -> CgroupPlan:
    """Compile other limits for groups that exist; `paths` is controller -> directory, as the state stores it.

    Device rules are compiled only where `resources` has some. Raises Error as compile_cgroup does.
    """
    steps: list[Step] = []
    if resources.get("devices"):
        ordered = device_rules.rules({"linux": {"resources": resources}})
        steps = device_rules.v1_steps(ordered) if "devices" in host.mounts else [device_rules.filter_step(ordered)]
    limits, enable = pyruntime.plan.cgroup.limits.compile_limits(resources, host)
    groups = {controller: (directory, "") for controller, directory in paths.items()}
    return CgroupPlan(host.mode, next(iter(paths.values()), ""), groups, steps + limits, enable, True)


def _locate(configured: str, host: "CgroupHost", container_id: str) -> tuple[dict[str, tuple[str, str]], str]:
    """The group's path in each hierarchy, and the path as asked for.

    An absolute path is below the mount point. A relative one is below this process's own group, so that a container
    stays under the limits of whoever started it; on the unified hierarchy below that group's parent, because a group
    with processes of its own cannot give controllers to its children. This is where runc puts them.
    Without a path the name is "pyruntime-ID", relative: the prefix keeps an id like "tasks" from being the name of a
    control file, or that of somebody else's group.

    Upholds config-linux.md#cgroups-path/absolute-below-mount, config-linux.md#cgroups-path/same-place.
    """
    path = _clean(configured) if configured else f"pyruntime-{container_id}"
    groups: dict[str, tuple[str, str]] = {}
    if path.startswith("/"):
        if host.mode != "v2":
            groups = {controller: (mountpoint, path) for controller, mountpoint in host.mounts.items()}
        if host.unified:
            groups[UNIFIED] = (host.unified, path)
        return groups, path
    if host.mode != "v2":
        for controller, mountpoint in host.mounts.items():
            groups[controller] = (mountpoint, host.own.get(controller, "/").rstrip("/") + "/" + path)
    if host.unified:
        parent = host.own.get(UNIFIED, "/").rpartition("/")[0]
        groups[UNIFIED] = (host.unified, f"{parent}/{path}")
    return groups, path


def _clean(path: str) -> str:
    """The path without empty and "." components."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def _ownership(config: "Config", linux: "Linux") -> list[Step]:
    """A step that gives the group to the container's user, where the clause says so (config-linux.md#cgroup-ownership).

    Only with a new cgroup namespace and a writable cgroup mount at /sys/fs/cgroup.

    Upholds config-linux.md#cgroup-ownership/needs-cgroup-namespace,
    config-linux.md#cgroup-ownership/needs-writable-mount.
    """
    namespaces = {namespace["type"]: namespace.get("path") for namespace in linux.get("namespaces") or ()}
    if namespaces.get("cgroup", "none"):  # not there, or joined by path
        return []
    writable = [
        f"/mounts/{index}"
        for index, mount in enumerate(config.get("mounts") or ())
        if mount.get("source") == "cgroup"
        and mount["destination"] == "/sys/fs/cgroup"
        and "ro" not in (mount.get("options") or ())
    ]
    if not writable:
        return []
    uid = ((config.get("process") or {}).get("user") or {"uid": 0})["uid"]
    if "user" in namespaces:
        if namespaces["user"]:
            return []  # a joined namespace's maps are not in the configuration
        uid = _on_host(uid, linux.get("uidMappings") or ())
    if not uid:  # root owns it already, or the user is not mapped
        return []
    return [Step("chown_cgroup", writable[0], "config-linux.md#cgroup-ownership", uid=uid)]


def _delegate(config: "Config", host: "CgroupHost", steps: list[Step]) -> Step | None:
    """Return the step for crun's annotation `run.oci.delegate-cgroup`, None without it.

    The limits are those of the container's own group, which is where a new cgroup namespace starts. The process begins
    in the group below, so that it can give controllers to groups of its own. It goes to whom the container's own group
    goes by `steps`, otherwise to the container's root.
    Raises Error where the host has version 1: there a group cannot be given away safely.
    """
    path = pyruntime.spec.rules.annotations.group(config, pyruntime.spec.rules.annotations.DELEGATE)
    if not path:
        return None
    pointer = join("/annotations", pyruntime.spec.rules.annotations.DELEGATE)
    if host.mode != "v2":
        raise Error(
            f"annotation {pyruntime.spec.rules.annotations.DELEGATE}",
            f"it needs a host with cgroup v2 only; this one is {host.mode}",
            pointer=pointer,
            clause=pyruntime.spec.rules.annotations.CLAUSE,
        )
    owner = next((step.args["uid"] for step in steps if step.op == "chown_cgroup"), None)
    if owner is None:
        owner = _on_host(0, (config.get("linux") or {}).get("uidMappings") or ())
    return Step("delegate_cgroup", pointer, pyruntime.spec.rules.annotations.CLAUSE, path=path, uid=owner)


def _on_host(uid: int, mappings: "Sequence[IDMapping]") -> int:
    """The host's number of a container's user; 0 where it is not mapped."""
    for mapping in mappings:
        if mapping["containerID"] <= uid < mapping["containerID"] + mapping["size"]:
            return mapping["hostID"] + uid - mapping["containerID"]
    return 0
