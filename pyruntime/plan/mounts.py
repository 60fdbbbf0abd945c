"""The configured mounts and the default filesystems (config.md#mounts, config-linux.md#default-filesystems)."""

import pyruntime
from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.plan import mount_flags
from pyruntime.plan.step import Step
from pyruntime.spec.rules.mount_options import maps_of
from pyruntime.spec.rules.mounts import container_path, is_bind, through_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import Mount

CLAUSE = "config.md#mounts"
DEFAULTS_CLAUSE = "config-linux.md#default-filesystems"


def mounts(context: "Context") -> "Iterator[Step]":
    """Yield the steps of /mounts in the listed order, and those of the default filesystems that it does not name.

    Raises Error for what the kernel lacks, and for a destination with the path of the root filesystem in front.

    Upholds config.md#mounts/listed-order.
    """
    configured = context.config.get("mounts") or []
    label_option(context, "", [])  # asked for on a host without SELinux it is an error, even if nothing would get it
    destinations = context.destinations = [container_path(mount["destination"]) for mount in configured]
    root = context.config["root"]["path"]
    if root[:1] != "/":  # otherwise a rule has looked at it
        for wrong in through_root(destinations, f"{context.bundle}/{root}"):
            raise wrong
    yield from _defaults(context, destinations, ("/proc", "/sys"))
    late: list[Step] = []
    in_dev: tuple[str, ...] = ("/dev/pts", "/dev/shm")
    for index, mount in enumerate(configured):
        if in_dev and destinations[index].startswith("/dev/shm/"):
            yield from _defaults(context, destinations, in_dev)  # what is mounted in it comes after it
            in_dev = ()
        yield from _mount(context, index, mount, destinations[index], late)
    yield from _defaults(context, destinations, in_dev)
    context.late.extend(late)


def _mount(context: "Context", index: int, mount: "Mount", destination: str, late: "list[Step]") -> "Iterator[Step]":
    pointer = f"/mounts/{index}"
    fstype = mount.get("type") or ""
    options = mount_flags.MountOptions(mount.get("options") or [])
    if not context.facts.mount_setattr:
        _refuse_newer(pointer, mount, options)
    if options.behaviour & mount_flags.REMOUNT:
        yield _remount(pointer, destination, options, is_bind(mount))
    elif is_bind(mount):
        yield _bind(context, pointer, mount, destination, options)
    elif fstype in ("cgroup", "cgroup2"):
        yield from pyruntime.plan.cgroup.mounts.expand(
            index, mount, destination, context.config, context.facts.cgroup, context.cgroup
        )
    else:
        yield from _filesystem(context, pointer, mount, destination, options, late)


def _refuse_newer(pointer: str, mount: "Mount", options: mount_flags.MountOptions) -> None:
    """Raise Error for options that need mount_setattr(2) if the kernel lacks it; for the others mount(2) is used."""
    if mount.get("uidMappings") or options.behaviour & mount_flags.IDMAP:
        what, name = "map the owners of the mount", "uidMappings" if mount.get("uidMappings") else "options"
    elif options.rec_set | options.rec_clr:
        what, name = "change the attributes of the mounts below", "options"
    else:
        return
    raise Error(
        f"cannot {what} at {mount['destination']}",
        "the kernel has no mount_setattr: it needs Linux 5.12",
        pointer=f"{pointer}/{name}",
        clause="config.md#linux-mount-options",
    )


def _common(options: mount_flags.MountOptions) -> "dict[str, int]":
    """Return the arguments that every kind of mount takes from its options, without those that are empty."""
    args = {
        "attr_set": options.attr_set,
        "attr_clr": options.attr_clr,
        "rec_set": options.rec_set,
        "rec_clr": options.rec_clr,
        "propagation": options.propagation,
        "rec_propagation": options.rec_propagation,
    }
    return {name: value for name, value in args.items() if value}


def _idmap(context: "Context", mount: "Mount", options: mount_flags.MountOptions) -> "dict[str, Any]":
    """Return the arguments of an idmapped mount: its own maps, otherwise those of the container's user namespace.

    Empty maps stand for those of a user namespace that is joined, which only the kernel knows.

    Upholds config.md#linux-mount-options/idmap, config.md#linux-mount-options/ridmap.
    """
    own: tuple[Any, Any] = mount.get("uidMappings"), mount.get("gidMappings")
    if options.maps:
        own = maps_of(options.maps, context.config)
    if not options.behaviour & mount_flags.IDMAP and not own[0]:
        return {}
    linux = context.config.get("linux") or {}
    uid, gid = own if own[0] else (linux.get("uidMappings"), linux.get("gidMappings"))
    if context.namespaces.get("user") and not own[0]:
        uid = gid = []
    depth = lib.STEP_IDMAP_RECURSIVE if options.behaviour & mount_flags.RIDMAP else lib.STEP_IDMAP
    return {"idmap_flags": depth, "uid_mappings": uid, "gid_mappings": gid}


# Behaviour -> the flag of the step.
_BIND_FLAGS = {
    mount_flags.RBIND: lib.STEP_RECURSIVE,
    mount_flags.COPY_SYMLINK: lib.STEP_COPY_SYMLINK,
    mount_flags.SOURCE_NOFOLLOW: lib.STEP_SOURCE_NOFOLLOW,
    mount_flags.NOFOLLOW: lib.STEP_NOFOLLOW,
}


def _bind(
    context: "Context", pointer: str, mount: "Mount", destination: str, options: mount_flags.MountOptions
) -> Step:
    source = mount["source"]
    if options.data or options.sb_flags & ~lib.MS_SILENT:
        # These are options of the filesystem, and mount(2) ignores them with MS_BIND.
        names = [
            name
            for name in mount["options"]
            if mount_flags.TABLE.get(name, (0,))[0] == mount_flags.SUPERBLOCK or name in options.data
        ]
        context.warnings.append(
            f"options without effect on a bind mount: {', '.join(names)} ({pointer}/options, {CLAUSE})"
        )
    if not source.startswith("/"):
        source = f"{context.bundle}/{source}"
    args = _common(options)
    if not options.propagation and not options.rec_propagation and not context.shares_mounts:
        # Mounts that the host makes below the source later appear in the container too, as they do with runc; what
        # the container mounts never reaches the host.
        args["rec_propagation"] = lib.MS_SLAVE
    flags = sum(flag for behaviour, flag in _BIND_FLAGS.items() if options.behaviour & behaviour == behaviour)
    if options.attr_set | options.attr_clr | options.sb_flags:
        flags |= lib.STEP_NAMED_ONLY
    idmap = _idmap(context, mount, options)
    if idmap:
        flags |= idmap.pop("idmap_flags")
    shared = lib.MS_SHARED in (options.propagation, options.rec_propagation)
    if context.foreign_mounts or (shared and context.shares_mounts):
        args["host_tree"] = True
    if flags:
        args["flags"] = flags
    return Step("bind", pointer, CLAUSE, path=destination, source=source, **args, **idmap)


def _remount(pointer: str, destination: str, options: mount_flags.MountOptions, bind: bool) -> Step:
    args = _common(options)
    sb_flags = options.sb_flags | (lib.MS_BIND if bind else options.attr_set & lib.MOUNT_ATTR_RDONLY)
    if sb_flags:
        args["sb_flags"] = sb_flags
    return Step("remount", pointer, CLAUSE, path=destination, data=options.data, **args)


def label_option(context: "Context", fstype: str, data: "list[str]") -> "list[str]":
    """Return the option that carries linux.mountLabel, if there is one."""
    if not (context.config.get("linux") or {}).get("mountLabel"):
        return []
    return pyruntime.plan.labels.mount_label(context, fstype, data)


def _filesystem(
    context: "Context",
    pointer: str,
    mount: "Mount",
    destination: str,
    options: mount_flags.MountOptions,
    late: "list[Step]",
) -> "Iterator[Step]":
    fstype = mount["type"]
    options.fold()
    readonly = options.attr_set & lib.MOUNT_ATTR_RDONLY
    if readonly and (fstype == "tmpfs" or destination == "/dev"):
        # Later steps make devices and mount points in it.
        late.append(Step("setattr", pointer, CLAUSE, path=destination, attr_set=lib.MOUNT_ATTR_RDONLY))
        options.attr_set &= ~readonly
        readonly = 0
    args: dict[str, Any] = dict(_common(options))
    if options.sb_flags | readonly:
        args["sb_flags"] = options.sb_flags | (lib.MS_RDONLY if readonly else 0)
    if options.behaviour & mount_flags.COPY_UP:
        args["flags"] = lib.STEP_COPY_UP
    idmap = _idmap(context, mount, options)
    if idmap:
        args["flags"] = args.get("flags", 0) | idmap.pop("idmap_flags")
        args.update(idmap)
    data = options.data + label_option(context, fstype, options.data)
    if data:
        args["data"] = data
    labelled = (context.config.get("linux") or {}).get("mountLabel")
    if labelled and (label := pyruntime.plan.labels.root_label(context, fstype)):
        args["label"] = label
    source = mount.get("source") or fstype
    yield Step("mount", pointer, CLAUSE, path=destination, fstype=fstype, source=source, **args)


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


_SAFE = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NOEXEC | lib.MOUNT_ATTR_NODEV

# Path -> filesystem type, attributes, options.
_DEFAULT_FILESYSTEMS = {
    "/proc": ("proc", _SAFE, []),
    "/sys": ("sysfs", _SAFE | lib.MOUNT_ATTR_RDONLY, []),
    "/dev/pts": (
        "devpts",
        lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NOEXEC,
        ["newinstance", "ptmxmode=0666", "mode=0620"],
    ),
    "/dev/shm": ("tmpfs", _SAFE, ["mode=1777", "size=65536k"]),
}


# The directories of a default filesystem that can be mounted on: no other directory can be made in it.
# In /proc nothing else is allowed (spec/rules/mounts.py).
_PLACES = {
    "/sys": (
        *("fs/bpf", "fs/cgroup", "fs/fuse/connections", "fs/pstore", "fs/resctrl", "fs/selinux"),
        *("kernel/config", "kernel/debug", "kernel/security", "kernel/tracing"),
    ),
    "/dev/pts": (),
}


def _takes(path: str, destinations: "list[str]") -> bool:
    """Tell whether all of `destinations` that are below `path` can be mounted on in the default filesystem there."""
    if path not in _PLACES:
        return True
    places = [f"{path}/{name}" for name in _PLACES[path]]
    held: list[str] = []
    for destination in destinations:
        if destination in places:
            held.append(destination)
        elif destination.startswith(f"{path}/") and not any(destination.startswith(f"{place}/") for place in held):
            return False
    return True


def _defaults(context: "Context", destinations: "list[str]", paths: "tuple[str, ...]") -> "Iterator[Step]":
    """Yield the default filesystems (SHOULD) that /mounts neither names nor covers.

    Where /mounts has something below that the default filesystem has no place for, it is left out: what is asked for
    goes before what SHOULD be. /sys/fs/cgroup is such a place.

    Upholds config-linux.md#default-filesystems/available.
    """
    if not context.new_namespace("mount"):
        return
    binds = [container_path(m["destination"]) for m in context.config.get("mounts") or () if is_bind(m)]
    for path in paths:
        if path in destinations or not _takes(path, destinations):
            continue
        if any(_below(path, bind) for bind in binds):
            continue
        fstype, attributes, data = _DEFAULT_FILESYSTEMS[path]
        if fstype == "sysfs" and context.user_namespace and not context.new_namespace("network"):
            continue  # the kernel gives sysfs only to the owner of the network namespace
        if fstype == "proc" and context.user_namespace and not context.new_namespace("pid"):
            continue  # and procfs only to the owner of the pid namespace
        data = data + label_option(context, fstype, data)
        args: dict[str, object] = {"data": data} if data else {}
        yield Step(
            "mount",
            "",
            DEFAULTS_CLAUSE,
            path=path,
            fstype=fstype,
            source=fstype,
            attr_set=attributes,
            flags=lib.STEP_OPTIONAL,
            **args,
        )
