"""Masked and read-only paths (config-linux.md#masked-paths, #readonly-paths)."""

from pyruntime._stub import lib
from pyruntime.plan.mounts import label_option
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context


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
            path=path,
            fstype="tmpfs",
            source="tmpfs",
            data=data,
            sb_flags=lib.MS_RDONLY,
            attr_set=lib.MOUNT_ATTR_RDONLY,
        )


def readonly_paths(context: "Context") -> "Iterator[Step]":
    """Yield a step for each path to protect: a copy of the mount there, read-only with all below it."""
    linux = context.config.get("linux") or {}
    for index, path in enumerate(linux.get("readonlyPaths") or ()):
        yield Step(
            "readonly",
            f"/linux/readonlyPaths/{index}",
            "config-linux.md#readonly-paths",
            path=path,
            rec_set=lib.MOUNT_ATTR_RDONLY,
        )
