"""Opens the files for the hooks' output that annotations name (`run.oci.hooks.stdout`, `.stderr`: crun's)."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan import annotations


def open_files(state: "dict[str, object]") -> "tuple[int, int]":
    """Return descriptors for stdout and stderr, which the caller owns; -1 for one that no annotation names.

    Missing files are created; output is appended. Raises Error.
    """
    found = state.get("annotations")
    assert isinstance(found, dict)
    opened = [-1, -1]
    for stream, name in enumerate((annotations.HOOKS_STDOUT, annotations.HOOKS_STDERR)):
        if name not in found:
            continue
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
            opened[stream] = os.open(found[name], flags, 0o600)
        except OSError as error:
            close(tuple(opened))
            raise Error(
                f"cannot open {found[name]} for the output of hooks",
                pointer=annotations.pointer(name),
                clause=annotations.CLAUSE,
                errno=error.errno or 0,
            ) from None
    return opened[0], opened[1]


def close(files: "tuple[int, ...]") -> None:
    """Close what `open_files` opened."""
    for fd in files:
        if fd >= 0:
            os.close(fd)
