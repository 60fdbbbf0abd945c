"""Masked and read-only paths (config-linux.md#masked-paths, #readonly-paths)."""

from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.plan.mounts import label_option
from pyruntime.plan.step import Step
from pyruntime.spec.rules.mounts import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context


# Of whoever asks.
_OWN = ("/proc/self", "/proc/thread-self")


def _path(context: "Context", name: str, kind: str, index: int) -> str:
    """Return the path, resolved as a destination is, so that it names what a mount with the same path has mounted.

    Raises Error for a directory of the process itself where it is in a pid namespace of others: it comes into that only
    when the paths are hidden (csrc/stub/spawn.c).
    """
    path = container_path(name)
    if context.namespaces.get("pid") and any(path == own or path.startswith(f"{own}/") for own in _OWN):
        raise Error(
            f"cannot hide {name}",
            "in a pid namespace that is joined, nothing is the container's own in /proc",
            pointer=f"/linux/{kind}/{index}",
            value=name,
            clause="config-linux.md#masked-paths" if kind == "maskedPaths" else "config-linux.md#readonly-paths",
        )
    return path


def masked_paths(context: "Context") -> "Iterator[Step]":
    """Yield a step for each path to hide: an empty read-only tmpfs over a directory, the null device over a file."""
    linux = context.config.get("linux") or {}
    data = ["nr_blocks=1", "nr_inodes=1"]
    data += label_option(context, "tmpfs", data)
    for index, path in enumerate(linux.get("maskedPaths") or ()):
        yield Step(
            "mask",
            f"/linux/maskedPaths/{index}",
            "config-linux.md#masked-paths",
            path=_path(context, path, "maskedPaths", index),
            fstype="tmpfs",
            source="tmpfs",
            data=data,
            sb_flags=lib.MS_RDONLY,
            attr_set=lib.MOUNT_ATTR_RDONLY,
        )


def readonly_paths(context: "Context") -> "Iterator[Step]":
    """Yield a step for each path to protect: a copy of the mount there, read-only.

    What /mounts has below keeps its own options, as with runc and crun: CRIU in a container writes to a file that is
    bound below /proc/sys. Where there is nothing of the kind the path is read-only with all below, which came with the
    root filesystem, a recursive bind mount or a hook. Linux before 5.12 changes one mount at a time: there what is
    below is left out, so that nobody writes to it either.
    """
    linux = context.config.get("linux") or {}
    destinations = "\0".join(["", *context.destinations])
    for index, name in enumerate(linux.get("readonlyPaths") or ()):
        path = _path(context, name, "readonlyPaths", index)
        args: dict[str, object] = {"attr_set": lib.MOUNT_ATTR_RDONLY}
        if f"\0{'' if path == '/' else path}/" in destinations:
            args["flags"] = lib.STEP_RECURSIVE
        elif context.facts.mount_setattr:
            args = {"rec_set": lib.MOUNT_ATTR_RDONLY, "flags": lib.STEP_RECURSIVE}
        yield Step("readonly", f"/linux/readonlyPaths/{index}", "config-linux.md#readonly-paths", path=path, **args)


def verify(context: "Context") -> "Iterator[Step]":
    """Yield the last check of all hidden paths, from the container's root.

    Raises Error if that root is the host's: pivot_root(2) would leave the host's above it, without masks.
    """
    linux = context.config.get("linux") or {}
    for name, clause in (("maskedPaths", "masked-paths"), ("readonlyPaths", "readonly-paths")):
        if linux.get(name):
            if context.config["root"]["path"] == "/" and not context.no_pivot:
                raise Error(
                    "cannot hide paths in the host's root filesystem",
                    f"with linux.{name}, root.path cannot be /",
                    pointer="/root/path",
                    value="/",
                    clause=f"config-linux.md#{clause}",
                    advice="with --no-pivot, the container's root takes the place of the host's, and paths are hidden",
                )
            yield Step("verify", f"/linux/{name}", f"config-linux.md#{clause}")
            return
