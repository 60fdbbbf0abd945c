"""Mounts of type cgroup and cgroup2: the container's view of its control groups (config.md#mounts)."""

from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.plan import mount_flags
from pyruntime.plan.cgroup.cgroup import UNIFIED
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.cgroup.cgroup import CgroupPlan
    from pyruntime.plan.facts import CgroupHost
    from pyruntime.spec.json_types import Config, Mount

CLAUSE = "config.md#mounts"

_SAFE = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV | lib.MOUNT_ATTR_NOEXEC


def expand(
    index: int, mount: "Mount", destination: str, config: "Config", host: "CgroupHost", plan: "CgroupPlan"
) -> "Iterator[Step]":
    """Yield the steps for /mounts/`index`, a mount of type cgroup or cgroup2, at `destination` in the container.

    "cgroup" means what the host has, as with runc: the unified hierarchy on a v2 host, elsewhere a tmpfs with a
    directory for each v1 hierarchy. "cgroup2" is always the unified one. In a cgroup namespace the hierarchies are
    mounted anew, which shows them from the container's group down. Without one, v1 hierarchies show the container's
    group, and the unified one all of the host's, for that is what a new mount would show.
    Raises Error for options that such a mount does not take, and for cgroup2 on a host without it.
    """
    pointer = f"/mounts/{index}"
    options = mount_flags.MountOptions(mount.get("options") or [])
    options.fold()
    linux = config.get("linux") or {}
    namespaces: dict[str, str] = {entry["type"]: entry.get("path") or "" for entry in linux.get("namespaces") or ()}
    if mount.get("type") == "cgroup2" or host.mode == "v2":
        if not host.unified:
            raise Error(
                f"cannot mount {destination}",
                "the host has no unified (v2) cgroup hierarchy",
                pointer=f"{pointer}/type",
                clause=CLAUSE,
            )
        yield _unified(pointer, mount, destination, options, namespaces, host, plan)
        return
    if options.data:
        raise Error(
            f"cannot mount {destination}",
            f"a cgroup v1 mount takes no options of a file system: {', '.join(options.data)[:200]}",
            pointer=f"{pointer}/options",
            clause="config.md#linux-mount-options",
        )
    yield from _hierarchies(pointer, destination, options, "cgroup" in namespaces, host, plan)


def _unified(
    pointer: str,
    mount: "Mount",
    destination: str,
    options: mount_flags.MountOptions,
    namespaces: "dict[str, str]",
    host: "CgroupHost",
    plan: "CgroupPlan",
) -> Step:
    args = _propagation(options)
    if options.attr_set:
        args["attr_set"] = options.attr_set
    # The kernel lets only the owner of the cgroup namespace mount it: a new one belongs to the container's user
    # namespace, one joined by path or the host's need not.
    if namespaces.get("cgroup") == "" or ("cgroup" in namespaces and "user" not in namespaces):
        if options.data:
            args["data"] = options.data
        source = mount.get("source") or "cgroup2"
        return Step("mount", pointer, CLAUSE, path=destination, fstype="cgroup2", source=source, **args)
    mountpoint, path = plan.groups[UNIFIED]
    source = mountpoint + path if "cgroup" in namespaces else mountpoint
    args.setdefault("rec_propagation", lib.MS_SLAVE)
    return Step("bind", pointer, CLAUSE, path=destination, source=source, **args)


def _hierarchies(
    pointer: str,
    destination: str,
    options: mount_flags.MountOptions,
    namespaced: bool,
    host: "CgroupHost",
    plan: "CgroupPlan",
) -> "Iterator[Step]":
    """A tmpfs with each v1 hierarchy under its name on the host; links for controllers that share one."""
    readonly = options.attr_set & lib.MOUNT_ATTR_RDONLY
    args = _propagation(options)
    yield Step(
        "mount",
        pointer,
        CLAUSE,
        path=destination,
        fstype="tmpfs",
        source="tmpfs",
        attr_set=_SAFE | options.attr_set & ~readonly,
        data=["mode=755"],
        **args,
    )
    together: dict[str, list[str]] = {}
    for controller, mountpoint in host.mounts.items():
        together.setdefault(mountpoint, []).append(controller)
    for mountpoint, controllers in together.items():
        name = mountpoint.rpartition("/")[2]
        path = f"{destination}/{name}"
        attributes = _SAFE | options.attr_set
        if namespaced:
            yield Step(
                "mount",
                pointer,
                CLAUSE,
                path=path,
                fstype="cgroup",
                source=name if controllers[0].startswith("name=") else "cgroup",
                attr_set=attributes,
                data=controllers,
                **args,
            )
        else:
            bind = {"rec_propagation": lib.MS_SLAVE, **args}
            source = "".join(plan.groups[controllers[0]])
            yield Step(
                "bind",
                pointer,
                CLAUSE,
                path=path,
                source=source,
                flags=lib.STEP_RECURSIVE,
                attr_set=attributes,
                **bind,
            )
        for controller in controllers if len(controllers) > 1 else ():
            if controller != name:
                yield Step("symlink", pointer, CLAUSE, path=f"{destination}/{controller}", source=name)
    if readonly:
        yield Step("setattr", pointer, CLAUSE, path=destination, attr_set=readonly)


def _propagation(options: mount_flags.MountOptions) -> "dict[str, object]":
    args = {"propagation": options.propagation, "rec_propagation": options.rec_propagation}
    return {name: value for name, value in args.items() if value}
