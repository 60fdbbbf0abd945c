"""Annotations that change what pyruntime does: some of crun's `run.oci.` annotations, and our own.

Unknown annotations are ignored (config.md#annotations); docs/verbs.md lists those of crun that are supported. A
supported annotation with a wrong value is an error of config.json (spec/rules/annotations.py).
"""

from pyruntime.base.json_pointer import join
from pyruntime.spec.rules.annotations import (
    CLAUSE,
    DELEGATE,
    HANDLER,
    HOOKS_STDERR,
    HOOKS_STDOUT,
    LANDLOCK,
    MOUNT_CONTEXT_TYPE,
    PIDFD_RECEIVER,
    SUBGROUP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import Config

__all__ = [
    "CLAUSE",
    "DELEGATE",
    "HOOKS_STDERR",
    "HOOKS_STDOUT",
    "MOUNT_CONTEXT_TYPE",
    "PIDFD_RECEIVER",
    "SUBGROUP",
    "pointer",
    "read",
    "value",
]

KEEP_GROUPS = "run.oci.keep_original_groups"

# Annotations that would make another container of this one: what is done instead of obeying.
_WITHOUT_EFFECT = {
    HANDLER: "the container's process is its program: pyruntime has no other handler",
    "run.oci.systemd.force_cgroup_v1": "the container sees the host's cgroup version",
}


def pointer(name: str) -> str:
    """Return the JSON pointer of the annotation `name`."""
    return join("/annotations", name)


def value(config: "Config", name: str) -> str:
    """Return the value of the annotation `name`; "" where there is none."""
    return (config.get("annotations") or {}).get(name) or ""


def read(context: "Context") -> None:
    """Store in `context` what the annotations request, and warn of those that have no effect."""
    annotations = context.config.get("annotations") or {}
    for name in annotations:
        if name in _WITHOUT_EFFECT:
            context.warnings.append(f"{name} has no effect: {_WITHOUT_EFFECT[name]} ({pointer(name)}, {CLAUSE})")
    context.landlock = LANDLOCK in annotations
    context.keep_groups = (annotations.get(KEEP_GROUPS) or "0") != "0"
    if context.keep_groups and context.user.get("additionalGids"):
        context.warnings.append(
            f"/process/user/additionalGids has no effect with {KEEP_GROUPS} (config.md#posix-platform-user)"
        )
