"""Checks the shape of a state.json that this runtime wrote. The verbs after create do not check it again."""

from pyruntime.base import lean_os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LAST_PID = 4194304  # PID_MAX_LIMIT, proc(5)
_INT64 = 2**63


def misfit(state: "dict[str, object]") -> str:
    """Return the name of the first member of `state` that is missing or wrong, "" if there is none."""
    for name, fits in _MEMBERS.items():
        if name not in state:
            if name not in _LATER:
                return name
        elif not fits(state[name]):
            return name
    return ""


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_path(value: object) -> bool:
    """Tell whether `value` can be given to the kernel as a path; it may be empty if there is none."""
    if type(value) is not str or "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def _is_bool(value: object) -> bool:
    return value is True or value is False


def _is_keyring(value: object) -> bool:
    """Tell whether `value` is a name, or a boolean as in older files."""
    return _is_text(value) or _is_bool(value)


def _is_pid(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LAST_PID


def _is_number(value: object) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _are(fits: "Callable[[object], bool]", values: object) -> bool:
    return type(values) is list and all(map(fits, values))


def _is_mapping_to(fits: "Callable[[object], bool]", value: object) -> bool:
    return type(value) is dict and all(map(fits, value.values()))


def _are_annotations(value: object) -> bool:
    return _is_mapping_to(_is_text, value)


def _is_cgroup(value: object) -> bool:
    """See Cgroup.record; empty until there is a group."""
    if type(value) is not dict or not value:
        return value == {}
    unit = value.get("unit", {"name": "", "user": False})
    return (
        _is_mapping_to(_is_path, value.get("paths"))
        and _are(_is_path, value.get("made"))
        and type(unit) is dict
        and _is_path(unit.get("name"))
        and _is_bool(unit.get("user"))
    )


def _is_intel_rdt(value: object) -> bool:
    """See IntelRdt.record; empty if the container has no group."""
    if type(value) is not dict or not value:
        return value == {}
    return all(_are(_is_path, value.get(name)) for name in ("tasks", "remove"))


def _is_root_mount(value: object) -> bool:
    """See RootMount of spec/json_types.py; null if there is none."""
    if type(value) is not dict:
        return value is None
    paths, numbers = ("path", "namespace"), ("inode", "below")
    root = value.get("root", [0, 0])  # older states do not have it
    return (
        all(_is_path(value.get(name)) for name in paths)
        and all(_is_number(value.get(name)) for name in numbers)
        and _are(_is_number, root)
        and len(root) == 2
    )


def _is_hook(value: object) -> bool:
    return (
        type(value) is dict
        and _is_path(value.get("path"))
        and all(_are(_is_path, value[name]) for name in ("args", "env") if name in value)
        and _is_number(value.get("timeout", 1))
    )


def _are_hooks(value: object) -> bool:
    return type(value) is dict and all(_are(_is_hook, hooks) for hooks in value.values())


_MEMBERS: "dict[str, Callable[[object], bool]]" = {
    "ociVersion": _is_text,
    "id": _is_text,
    "status": _is_text,
    "pid": _is_pid,
    "bundle": _is_path,
    "annotations": _are_annotations,
    "start_time": _is_number,
    "created": _is_text,
    "rootfs": _is_path,
    "owner": _is_number,
    "process": _is_bool,
    "cgroup": _is_cgroup,
    "hooks": _are_hooks,
    "root_mount": _is_root_mount,
    "intel_rdt": _is_intel_rdt,
    "keyring": _is_keyring,
}

# Members that were added later; the code that reads them handles their absence.
_LATER = frozenset(["root_mount", "intel_rdt", "keyring"])
