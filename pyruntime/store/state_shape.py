"""Checks the shape of a state.json that this runtime wrote. The verbs after create do not check it again."""

from pyruntime.base import lean_os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_LAST_PID = 4194304  # PID_MAX_LIMIT, proc(5)
_INT64 = 2**63


def misfit(state: "dict[str, object]") -> str:
    """Return the name of the first member of `state` that is missing or wrong, "" if there is none."""
    for name, types, fits in _MEMBERS:
        if name not in state:
            if name in _LATER:
                continue
            return name
        value = state[name]
        if type(value) not in types or (fits is not None and not fits(value)):
            return name
    return ""


def _is_path(value: object) -> bool:
    """Tell whether `value` can be given to the kernel as a path; it may be empty if there is none."""
    return type(value) is str and _are_paths((value,))


def _are_paths(values: "Iterable[object]") -> bool:
    """Tell whether each of `values` can be given to the kernel as a path: all of them in one look."""
    try:
        text = "".join(values)  # type: ignore[arg-type]
    except TypeError:  # not a text
        return False
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def _is_list_of_paths(value: object) -> bool:
    return type(value) is list and _are_paths(value)


def _is_pid(value: int) -> bool:
    return 0 <= value <= _LAST_PID


def _is_number(value: int) -> bool:
    return -_INT64 <= value < _INT64


def _are_numbers(values: object) -> bool:
    return type(values) is list and all(type(value) is int and _is_number(value) for value in values)


def _are_annotations(value: "Any") -> bool:
    return not value or all(type(text) is str for text in value.values())


def _is_cgroup(value: "Any") -> bool:
    """See Cgroup.record; empty until there is a group."""
    if not value:
        return True
    paths = value.get("paths")
    return (
        type(paths) is dict
        and _are_paths(paths.values())
        and _is_list_of_paths(value.get("made"))
        and ("unit" not in value or _is_unit(value["unit"]))
    )


def _is_unit(value: object) -> bool:
    return type(value) is dict and _is_path(value.get("name")) and type(value.get("user")) is bool


def _is_intel_rdt(value: "Any") -> bool:
    """See IntelRdt.record; empty if the container has no group."""
    return not value or all(_is_list_of_paths(value.get(name)) for name in ("tasks", "remove"))


def _is_root_mount(value: "Any") -> bool:
    """See RootMount of spec/json_types.py; null if there is none."""
    if value is None:
        return True
    root = value.get("root", [0, 0])  # older states do not have it
    return (
        all(_is_path(value.get(name)) for name in ("path", "namespace"))
        and _are_numbers([value.get(name) for name in ("inode", "below")])
        and _are_numbers(root)
        and len(root) == 2
    )


def _is_hook(value: object) -> bool:
    return (
        type(value) is dict
        and _is_path(value.get("path"))
        and all(_is_list_of_paths(value[name]) for name in ("args", "env") if name in value)
        and _are_numbers([value.get("timeout", 1)])
    )


def _are_hooks(value: "Any") -> bool:
    return all(type(hooks) is list and all(map(_is_hook, hooks)) for hooks in value.values())


# Members with their types, and whether a value of these fits; None if each does.
_MEMBERS: "tuple[tuple[str, tuple[type, ...], Callable[[Any], bool] | None], ...]" = (
    ("ociVersion", (str,), None),
    ("id", (str,), None),
    ("status", (str,), None),
    ("pid", (int,), _is_pid),
    ("bundle", (str,), _is_path),
    ("annotations", (dict,), _are_annotations),
    ("start_time", (int,), _is_number),
    ("created", (str,), None),
    ("rootfs", (str,), _is_path),
    ("owner", (int,), _is_number),
    ("process", (bool,), None),
    ("cgroup", (dict,), _is_cgroup),
    ("hooks", (dict,), _are_hooks),
    ("root_mount", (type(None), dict), _is_root_mount),
    ("intel_rdt", (dict,), _is_intel_rdt),
    ("keyring", (str, bool), None),  # a boolean in older files
    ("copies_files", (bool,), None),
)

# Members that were added later; the code that reads them handles their absence.
_LATER = frozenset(["root_mount", "intel_rdt", "keyring", "copies_files"])
