"""Where the state of containers is kept: --root, or the default for the user who calls."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

_SYSTEM_ROOT = "/run/pyruntime"


def state_root(given: str) -> str:
    """Return the absolute path below which states are kept; `given` is the value of --root, empty without it.

    Raises Error when `given` is the root directory, or when the user's own directory cannot be made.
    """
    if given:
        # normpath(3) of POSIX keeps a second leading slash.
        path = "/" + os.path.abspath(given).lstrip("/")
        if path == "/":
            raise Error("cannot keep states in /", advice="give --root a directory of its own")
        return path
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime_dir.startswith("/") and not _is_system_root():
        return _own_directory(f"{runtime_dir}/pyruntime")
    return _SYSTEM_ROOT


def _is_system_root() -> bool:
    """Tell whether this is root of the machine, and not root in a user namespace that a user made for himself."""
    if os.geteuid() != 0:
        return False
    if os.environ.get("USER") == "root":
        return True
    try:
        with open("/proc/self/uid_map", "rb") as uid_map:
            return uid_map.read().split() == [b"0", b"0", b"4294967295"]
    except OSError:
        return True


def _own_directory(path: str) -> str:
    """Make `path` for this user alone and return it.

    The sticky bit keeps what lies in $XDG_RUNTIME_DIR from being cleaned away by age (XDG Base Directory
    Specification).
    """
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        os.chmod(path, 0o1700)
    except OSError as error:
        raise Error(
            f"cannot keep states in {path}",
            errno=error.errno or 0,
            advice="$XDG_RUNTIME_DIR must be writable for the user; --root names another directory",
        ) from None
    return path
