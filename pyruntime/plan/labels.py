"""The labels of Linux security modules: of the process, and of its mounts (config.md#linux-process, #mount-label)."""

from pyruntime.base.errors import Error
from pyruntime.plan import annotations
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import Process

PROCESS_CLAUSE = "config.md#linux-process"
MOUNT_CLAUSE = "config-linux.md#mount-label"

# Filesystems of the kernel that label each of their files themselves. They take no label for the mount.
_LABELLED_BY_KERNEL = frozenset(["proc", "sysfs", "cgroup", "cgroup2"])
# These label each file and have no option, but a label of the root is inherited by new files, as with runc.
_LABELLED_BY_ROOT = frozenset(["mqueue"])

# Options with which a mount names its label itself (mount(8)).
_OWN = ("context=", "fscontext=", "defcontext=", "rootcontext=")


def labels(context: "Context", process: "Process") -> "Iterator[Step]":
    """Yield the writes to /proc/self/attr: the label from the next execve on, and the label of a new keyring.

    Raises Error where the host does not run the security module.
    """
    profile = process.get("apparmorProfile")
    if profile:
        if not context.facts.apparmor:
            raise _disabled("AppArmor", "the profile", "/process/apparmorProfile", profile, PROCESS_CLAUSE)
        # Where several modules are stacked, the plain file belongs to the first of them.
        yield Step(
            "label",
            "/process/apparmorProfile",
            PROCESS_CLAUSE,
            attributes=["apparmor/exec", "exec"],
            text=f"exec {profile}",
        )
    label = process.get("selinuxLabel")
    if label:
        if not context.facts.selinux:
            raise _disabled("SELinux", "the label", "/process/selinuxLabel", label, PROCESS_CLAUSE)
        if context.new_keyring:
            # Otherwise the keyring has the runtime's label, and the container's process may not use it.
            yield Step("label", "/process/selinuxLabel", PROCESS_CLAUSE, attributes=["keycreate"], text=label)
        yield Step("label", "/process/selinuxLabel", PROCESS_CLAUSE, attributes=["exec"], text=label)


def mount_label(context: "Context", fstype: str, data: "list[str]") -> "list[str]":
    """Return the option that sets linux.mountLabel on a new filesystem; nothing if it takes none or has its own.

    Raises Error where the host does not run SELinux: the kernel would refuse the option, or worse, not know it.
    """
    label = (context.config.get("linux") or {}).get("mountLabel")
    if not label:
        return []
    if not context.facts.selinux:
        raise _disabled("SELinux", "the label", "/linux/mountLabel", label, MOUNT_CLAUSE)
    if fstype in _LABELLED_BY_KERNEL or fstype in _LABELLED_BY_ROOT or any(option.startswith(_OWN) for option in data):
        return []
    return [f"{annotations.value(context.config, annotations.MOUNT_CONTEXT_TYPE) or 'context'}={label}"]


def root_label(context: "Context", fstype: str) -> str:
    """Return linux.mountLabel if it is set on the root of a new filesystem instead of by an option, otherwise ""."""
    return context.config["linux"]["mountLabel"] if fstype in _LABELLED_BY_ROOT else ""


def _disabled(module: str, what: str, pointer: str, value: str, clause: str) -> Error:
    return Error(
        f"cannot apply {what} {value}",
        f"{module} is not enabled on this host",
        pointer=pointer,
        clause=clause,
        advice=f"leave it out, or enable {module} in the kernel",
    )
