"""The directory in which a process keeps its sandboxes, and the removal of those that dead processes have left."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from pyruntime.sandbox.result import SandboxError

# What the runtime is told of the environment: how to reach the user's systemd, and nothing about the caller.
_PASSED_ON = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HOME", "USER", "LANG")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> "dict[str, str]":
    """Return the environment of the program."""
    return {"PATH": _PATH, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}


def package() -> Path:
    """Return the directory of the installed package."""
    import pyruntime

    return Path(next(iter(pyruntime.__path__)))


def program() -> str:
    """Return the path of the installed program: beside the package, or in PATH. Raises SandboxError."""
    folder = package().parent
    # PREFIX/lib/pythonX.Y/site-packages, and PREFIX/bin; or one level less.
    for prefix in list(folder.parents)[:4]:
        path = prefix / "bin" / "pyruntime"
        if os.access(path, os.X_OK) and path.is_file():
            return str(path)
    found = shutil.which("pyruntime")
    if found:
        return found
    raise SandboxError(f"the program pyruntime is not installed: it is neither beside {folder} nor in PATH")


def agent() -> str:
    """Return the path of the sandbox's first process. Raises SandboxError."""
    path = package() / "sandbox" / "agent"
    if not path.is_file():
        raise SandboxError(f"{path} is missing: the package is not completely installed")
    return str(path)


def _base() -> Path:
    if os.geteuid() == 0:
        return Path("/run/pyruntime-sandboxes")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime, "pyruntime-sandboxes")
    return Path(tempfile.gettempdir(), f"pyruntime-sandboxes-{os.geteuid()}")


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks; "" where there is none (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _make_own(path: Path) -> None:
    """Make a directory that is ours alone, or see that it is. Raises SandboxError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise SandboxError(f"cannot make the directory {path}: {error.strerror}") from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o170077 != 0o040000:
        raise SandboxError(f"the directory {path} exists and is not this user's alone")


class _Place:
    lock = threading.Lock()
    pid = 0
    path: "Path | None" = None
    count = 0


def directory() -> Path:
    """Return this process's directory, made when first asked for; what dead processes left is removed then.

    Raises SandboxError.
    """
    pid = os.getpid()
    with _Place.lock:
        if _Place.path is None or _Place.pid != pid:
            base = _base()
            _make_own(base)
            path = base / f"{pid}.{_start_time(pid)}"
            _make_own(path)
            _Place.pid, _Place.path = pid, path
            import atexit

            atexit.register(_leave, pid, path)
            _sweep(base)
        elif not _Place.path.is_dir():
            _make_own(_Place.path)
        return _Place.path


def new_name() -> str:
    """Return an id that no other container of this process has."""
    with _Place.lock:
        _Place.count += 1
        return f"sandbox-{os.getpid()}-{_Place.count}"


def _leave(pid: int, path: Path) -> None:
    """Remove the directory of this process at its end. A child of fork(2) has another."""
    if os.getpid() == pid:
        _remove(path)


def _sweep(base: Path) -> None:
    """Remove what processes that are gone have left in `base`. Their containers ended with them."""
    try:
        names = os.listdir(base)
    except OSError:
        return
    for name in names:
        pid, _, started = name.partition(".")
        if pid.isdigit() and started and _start_time(int(pid)) != started:
            _remove(base / name)


def delete(root: Path, name: str) -> None:
    """Delete a container by force, whatever it is in."""
    command = [program(), "--root", str(root), "delete", "--force", name]
    subprocess.run(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )


def _remove(path: Path) -> None:
    """Remove a process's directory, with the containers that are recorded there."""
    containers = path / "containers"
    with contextlib.suppress(OSError, SandboxError, subprocess.SubprocessError):
        for name in os.listdir(containers):
            if name.startswith("sandbox-"):
                delete(containers, name)
    shutil.rmtree(path, ignore_errors=True)
