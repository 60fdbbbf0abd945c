"""The root filesystem, its propagation (config.md#root, config-linux.md#rootfs-mount-propagation)."""

from pyruntime._stub import lib
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context

CLAUSE = "config.md#root"
PROPAGATION_CLAUSE = "config-linux.md#rootfs-mount-propagation"

_KINDS = {
    "shared": lib.MS_SHARED,
    "slave": lib.MS_SLAVE,
    "private": lib.MS_PRIVATE,
    "unbindable": lib.MS_UNBINDABLE,
}


def _propagation(context: "Context") -> "tuple[int, bool]":
    """Return rootfsPropagation as a flag of mount(2), 0 if absent, and whether it also holds for the mounts below."""
    linux = context.config.get("linux") or {}
    name = linux.get("rootfsPropagation") or ""
    if name in _KINDS:
        return _KINDS[name], False
    return _KINDS.get(name[1:], 0), True


def take(context: "Context") -> "Iterator[Step]":
    """Yield the first steps: stop propagation to the host, then attach the root filesystem."""
    propagation, _ = _propagation(context)
    own = context.new_namespace("mount")
    if own:
        pointer = "/linux/rootfsPropagation" if propagation else ""
        # Until the root has changed, no mount may propagate to the host, whatever rootfsPropagation says.
        yield Step("propagation", pointer, PROPAGATION_CLAUSE, rec_propagation=lib.MS_SLAVE)
    # pivot_root(2) refuses a shared root, so "shared" is set after it.
    first = lib.MS_SLAVE if propagation == lib.MS_SLAVE else lib.MS_PRIVATE
    yield Step(
        "root",
        "/root/path",
        CLAUSE,
        source=context.config["root"]["path"],
        flags=lib.STEP_RECURSIVE | (0 if own else lib.STEP_IN_PLACE),
        rec_propagation=lib.MS_SLAVE,
        propagation=first,
    )


def enter(context: "Context") -> "Iterator[Step]":
    """Yield the change of the root, and what the root must be afterwards.

    Upholds config.md#root/readonly.
    """
    if context.config["root"].get("readonly"):
        yield Step("setattr", "/root/readonly", CLAUSE, path="/", attr_set=lib.MOUNT_ATTR_RDONLY)
    if not context.new_namespace("mount"):
        yield Step("chroot", "/root/path", CLAUSE)
        return
    yield Step("move_root" if context.no_pivot else "pivot_root", "/root/path", CLAUSE)
    propagation, recursive = _propagation(context)
    if propagation:
        field = "rec_propagation" if recursive else "propagation"
        yield Step("setattr", "/linux/rootfsPropagation", PROPAGATION_CLAUSE, path="/", **{field: propagation})
