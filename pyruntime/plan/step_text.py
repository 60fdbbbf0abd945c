"""The text of a step, as a call: flags by name, modes in octal, devices as major:minor."""

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.plan import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Bit -> word, for each kind of flags.
_ATTRIBUTES = {
    lib.MOUNT_ATTR_RDONLY: "ro",
    lib.MOUNT_ATTR_NOSUID: "nosuid",
    lib.MOUNT_ATTR_NODEV: "nodev",
    lib.MOUNT_ATTR_NOEXEC: "noexec",
    lib.MOUNT_ATTR_NOATIME: "noatime",
    lib.MOUNT_ATTR_STRICTATIME: "strictatime",
    lib.MOUNT_ATTR_NODIRATIME: "nodiratime",
    lib.MOUNT_ATTR_NOSYMFOLLOW: "nosymfollow",
}
_SUPERBLOCK = {
    lib.MS_RDONLY: "ro",
    lib.MS_SYNCHRONOUS: "sync",
    lib.MS_DIRSYNC: "dirsync",
    lib.MS_LAZYTIME: "lazytime",
    lib.MS_MANDLOCK: "mand",
    lib.MS_I_VERSION: "iversion",
    lib.MS_SILENT: "silent",
    lib.MS_BIND: "bind",
}
_PROPAGATION = {
    lib.MS_SHARED: "shared",
    lib.MS_SLAVE: "slave",
    lib.MS_PRIVATE: "private",
    lib.MS_UNBINDABLE: "unbindable",
}
_STEP_FLAGS = {
    lib.STEP_RECURSIVE: "recursive",
    lib.STEP_COPY_UP: "copy-up",
    lib.STEP_IF_PRESENT: "if-present",
    lib.STEP_REPLACE: "replace",
    lib.STEP_DEVICE: "device",
    lib.STEP_DIRECTORY: "directory",
    lib.STEP_NOFOLLOW: "nofollow",
    lib.STEP_IDMAP: "idmap",
    lib.STEP_IDMAP_RECURSIVE: "ridmap",
    lib.STEP_OPTIONAL: "optional",
    lib.STEP_NAMED_ONLY: "named-only",
    lib.STEP_COPY_SYMLINK: "copy-symlink",
    lib.STEP_SOURCE_NOFOLLOW: "source-nofollow",
    lib.STEP_MADE: "made",
}
_KINDS = {0o020000: "c", 0o060000: "b", 0o010000: "p"}  # of inode(7)

# Argument that clears attributes -> the one that sets some.
_CLEARED = {"attr_clr": "attr_set", "rec_clr": "rec_set"}


def step_text(op: str, args: "dict[str, Any]") -> str:
    """Return a step, its operation and arguments, as a call, without empty arguments."""
    shown = []
    for name, given in args.items():
        value = _only_cleared(given, args.get(_CLEARED[name], 0)) if name in _CLEARED else given
        text = _IN_WORDS.get(name, _plain)(value)
        if text:
            shown.append(f"{name}={text}")
    return f"{op}({', '.join(shown)})"


def _only_cleared(cleared: int, added: int) -> int:
    """Return what of `cleared` is not set again at once: the kernel clears first, and atime is one field of bits."""
    again = added | (lib.MOUNT_ATTR__ATIME if added & lib.MOUNT_ATTR__ATIME else 0)
    return cleared & ~again & sum(_ATTRIBUTES)


def _bits(words: "dict[int, str]") -> "Callable[[object], str]":
    """Return the function that puts flags into `words`; bits without one stay a number."""

    def text(value: object) -> str:
        if not isinstance(value, int):
            return _plain(value)
        known = [word for bit, word in words.items() if bit and value & bit]
        rest = value & ~sum(words)
        return ",".join([*known, *([hex(rest)] if rest else [])])

    return text


def _capabilities(value: object) -> str:
    if not isinstance(value, int):
        return _plain(value)
    if value & capabilities.ALL == capabilities.ALL:
        return "all"
    names = [name.removeprefix("CAP_") for name, bit in capabilities.NUMBERS.items() if value >> bit & 1]
    return ",".join(names) or "none"


def _some_capabilities(value: object) -> str:
    return _capabilities(value) if value else ""


def _landlock(kind: str) -> "Callable[[object], str]":
    """Return the function that names the bits of the argument `kind`: "handled_fs", "allowed_net", "scoped"."""

    def text(value: object) -> str:
        table = (
            pyruntime.spec.rules.landlock.SCOPED
            if kind == "scoped"
            else pyruntime.spec.rules.landlock.FS
            if kind.endswith("fs")
            else pyruntime.spec.rules.landlock.NET
        )
        return ",".join(name for name, (bit, _) in table.items() if isinstance(value, int) and value & bit)

    return text


def _scheduler_flags(value: object) -> str:
    return _bits(
        {bit: name.removeprefix("SCHED_FLAG_").lower() for name, bit in pyruntime.spec.rules.scheduler.FLAGS.items()}
    )(value)


def _mode(value: object) -> str:
    if not isinstance(value, int):
        return _plain(value)
    return f"{_KINDS.get(value & 0o170000, '')}{value & 0o7777:04o}"


def _device(value: object) -> str:
    return f"{os.major(value)}:{os.minor(value)}" if isinstance(value, int) else _plain(value)


def _hidden(value: object) -> str:
    return ""


def _plain(value: object) -> str:
    """Return any value; nothing for None and for what is empty."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{_plain(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(_quoted(_plain(item)) for item in value)
    return "" if value is None else str(value)


def _words(value: object) -> str:
    """Return a list of words, quoted as for a shell."""
    return " ".join(_quoted(_plain(item)) for item in value) if isinstance(value, (list, tuple)) else _plain(value)


def _quoted(text: str) -> str:
    """Quote `text` if it has a space or a line end, which would make it look like two words."""
    return repr(text) if not text or any(char.isspace() or not char.isprintable() for char in text) else text


_IN_WORDS: "dict[str, Callable[[object], str]]" = {
    "attr_set": _bits(_ATTRIBUTES),
    "rec_set": _bits(_ATTRIBUTES),
    "attr_clr": _bits(_ATTRIBUTES),
    "rec_clr": _bits(_ATTRIBUTES),
    "sb_flags": _bits(_SUPERBLOCK),
    "propagation": _bits(_PROPAGATION),
    "rec_propagation": _bits(_PROPAGATION),
    "flags": _bits(_STEP_FLAGS),
    "sched_flags": _scheduler_flags,
    "mode": _mode,
    "dev": _device,
    "resource": _hidden,
    "effective": _capabilities,
    "permitted": _capabilities,
    "inheritable": _capabilities,
    "ambient": _capabilities,
    "keep": _capabilities,
    "until_exec": _some_capabilities,
    "capabilities": _some_capabilities,
    **{name: _landlock(name) for name in ("handled_fs", "handled_net", "scoped", "allowed_fs", "allowed_net")},
    "argv": _words,
    "env": _words,
}
