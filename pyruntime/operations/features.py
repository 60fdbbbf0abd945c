"""The features structure: what this build of pyruntime recognizes and can do (features.md, features-linux.md).

Every list is made from the table that the plan uses, so that it has nothing that is not implemented. Only members that
the specification defines by the host are read from the host: supportedFlags, and the versions of libraries.
"""

import pyruntime
from pyruntime import SPEC_VERSION, __version__
from pyruntime._stub import lib
from pyruntime.plan import annotations, capabilities, hooks, mount_flags, namespaces, scheduling, seccomp
from pyruntime.plan.cgroup import systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST_SPEC = "1.0.0"

# Annotations of config.json that change what pyruntime does; one that ends with a dot means all that begin with it.
UNSAFE_ANNOTATIONS = (
    systemd.ANNOTATION,
    seccomp.FAIL_UNKNOWN,
    annotations.KEEP_GROUPS,
    annotations.HOOKS_STDOUT,
    annotations.HOOKS_STDERR,
    annotations.PIDFD_RECEIVER,
    annotations.MOUNT_CONTEXT_TYPE,
    annotations.SUBGROUP,
    annotations.DELEGATE,
    "org.criu.config",
)


def features() -> "dict[str, Any]":
    """Return the features structure (features.md).

    Upholds features.md#features-structure/compile-time, features.md#specification-version/min-required,
    features.md#specification-version/max-required, features.md#specification-version/no-other-properties,
    features.md#hooks/supported, features.md#mount-options/recognized, features.md#mount-options/no-filesystem-options,
    features.md#specification-version/max-not-below-min, features.md#annotations/map.
    """
    return {
        "ociVersionMin": OLDEST_SPEC,
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(mount_flags.TABLE),
        "linux": _linux(),
        "annotations": _versions(),
        "potentiallyUnsafeConfigAnnotations": list(UNSAFE_ANNOTATIONS),
    }


def _linux() -> "dict[str, Any]":
    """Return the section for Linux (features-linux.md).

    Upholds features-linux.md#namespaces/recognized, features-linux.md#capabilities/recognized,
    features-linux.md#seccomp/actions, features-linux.md#seccomp/operators, features-linux.md#seccomp/known-flags,
    features-linux.md#memorypolicy/modes, features-linux.md#memorypolicy/flags, features-linux.md#mountextensions/idmap.
    """
    return {
        "namespaces": sorted(namespaces.TYPES),
        "capabilities": list(capabilities.NAMES),
        "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
        "seccomp": {
            "enabled": True,
            "actions": sorted(seccomp.ACTIONS),
            "operators": sorted(seccomp.OPERATORS),
            "archs": _architectures(),
            "knownFlags": sorted(seccomp.FLAGS),
            "supportedFlags": _supported_flags(),
        },
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "memoryPolicy": {"modes": list(scheduling.MEMORY_MODES), "flags": list(scheduling.MEMORY_FLAGS)},
        "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": True},
    }


def _architectures() -> "list[str]":
    """Return the architectures that the libseccomp of this build compiles filters for.

    Upholds features-linux.md#seccomp/architectures.
    """
    return [name for name in sorted(seccomp.ARCHITECTURES) if pyruntime.engine.seccomp.compiler.architecture(name)]


def _supported_flags() -> "list[str]":
    """Return the flags that this kernel accepts (seccomp(2)), some of them only together with a listener.

    Upholds features-linux.md#seccomp/supported-flags.
    """
    known = lib.pyr_filter_flags_known
    return [name for name, bit in sorted(seccomp.FLAGS.items()) if known(bit) or known(bit | seccomp.NEW_LISTENER)]


def _landlock() -> "dict[str, str]":
    """Return the rights that the annotation for Landlock may name, and this kernel's version of Landlock."""
    names = {kind: " ".join(table) for kind, table in pyruntime.spec.rules.landlock.HANDLED.items()}
    return {
        "org.pyruntime.landlock.abi": str(lib.pyr_landlock_abi()),
        **{f"org.pyruntime.landlock.{kind}": text for kind, text in names.items()},
    }


def _versions() -> "dict[str, str]":
    return {
        "io.github.seccomp.libseccomp.version": pyruntime.engine.seccomp.compiler.version(),
        "run.oci.pyruntime.version": __version__,
        **_landlock(),
    }
