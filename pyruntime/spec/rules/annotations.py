"""Annotations that change what a runtime does: crun's `run.oci.`, and our own for Landlock (config.md#annotations).

Other runtimes ignore annotations that they do not implement.
"""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyruntime.spec.json_types import Config

CLAUSE = "config.md#annotations"

LANDLOCK = "org.pyruntime.landlock"

HOOKS_STDOUT = "run.oci.hooks.stdout"
HOOKS_STDERR = "run.oci.hooks.stderr"
PIDFD_RECEIVER = "run.oci.pidfd_receiver"
MOUNT_CONTEXT_TYPE = "run.oci.mount_context_type"
SUBGROUP = "run.oci.systemd.subgroup"
DELEGATE = "run.oci.delegate-cgroup"
HANDLER = "run.oci.handler"

# Annotations that would protect the container and are not implemented -> the property to use instead. If they were
# ignored, the container would have less protection than its author expects.
_PROTECTION = {
    "run.oci.seccomp.receiver": "a seccomp agent listens at linux.seccomp.listenerPath",
    "run.oci.seccomp.plugins": "a seccomp agent is a process of its own, at linux.seccomp.listenerPath",
    "run.oci.seccomp_bpf_data": "the filter is what linux.seccomp says",
}

_LONGEST_NAME = 255  # bytes of a file's name
CONTEXT_TYPES = ("context", "fscontext", "defcontext", "rootcontext")  # mount(8)


def group(config: "Config", name: str) -> str:
    """Return the path "/a/b" of the group below another that the annotation `name` asks for; "" for none."""
    return "".join(f"/{part}" for part in (config.get("annotations") or {}).get(name, "").split("/") if part)


def annotations(config: "Config") -> "Iterator[Error]":
    """A known annotation has a value that makes sense."""
    for name, text in config["annotations"].items():
        if name == LANDLOCK:
            yield from pyruntime.spec.rules.landlock.check(text)
            continue
        reason = _CHECKS[name](text) if name in _CHECKS else _PROTECTION.get(name, "")
        if reason:
            yield Error(f"annotation {name}", reason, pointer=join("/annotations", name), value=text, clause=CLAUSE)


def _absolute(text: str) -> str:
    return "" if text.startswith("/") and "\0" not in text else "expected an absolute path"


def _handler(text: str) -> str:
    return "the container would run without the virtual machine that it asks for" if text == "krun" else ""


def _group(text: str) -> str:
    parts = [part for part in text.split("/") if part]
    if any(part in (".", "..") or len(part.encode()) > _LONGEST_NAME for part in parts) or {"\0", "\n"} & set(text):
        return "expected the path of a group below the container's, without . and .."
    return ""


def _context_type(text: str) -> str:
    return "" if text in CONTEXT_TYPES else f"expected one of {', '.join(CONTEXT_TYPES)}"


_CHECKS: "dict[str, Callable[[str], str]]" = {
    HOOKS_STDOUT: _absolute,
    HOOKS_STDERR: _absolute,
    PIDFD_RECEIVER: _absolute,
    MOUNT_CONTEXT_TYPE: _context_type,
    SUBGROUP: _group,
    DELEGATE: _group,
    HANDLER: _handler,
}
