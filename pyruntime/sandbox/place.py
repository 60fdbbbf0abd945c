"""The directory in which a process keeps its sandboxes, and the removal of those of processes that have ended."""

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pyruntime
from pyruntime.sandbox.result import SandboxError

# The variables that the runtime gets: those by which it reaches the user's systemd.
_PASSED_ON = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HOME", "USER", "LANG")
_LOCK = "lock"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> "dict[str, str]":
    """Return the environment of the program."""
    return {"PATH": _PATH, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}


def package() -> Path:
    """Return the directory of the installed package."""
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
    held = -1
    count = 0


def directory() -> Path:
    """Return this process's directory; the first call makes it, and removes those of processes that have ended.

    Raises SandboxError.
    """
    pid = os.getpid()
    with _Place.lock:
        if _Place.path is None or _Place.pid != pid or not _Place.path.is_dir():
            base = _base()
            _make_own(base)
            path, held = _make_held(base, pid)
            if _Place.held >= 0:
                os.close(_Place.held)
            _Place.pid, _Place.path, _Place.held = pid, path, held
            atexit.register(_leave, pid, path)
            _sweep(base, path)
        return _Place.path


def _make_held(base: Path, pid: int) -> "tuple[Path, int]":
    """Make a directory, and return it with the descriptor that holds its lock (fcntl_locking(2)).

    The lock ends with the process. A process id does not tell whether its process lives: another process that uses
    `base` may have another pid namespace.
    """
    while True:
        path = base / f"{pid}.{secrets.token_hex(4)}"
        _make_own(path)
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Another process may have removed it before it was locked.
        if _lock(fd) and os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def new_name() -> str:
    """Return an id that no other container has. Its process has a directory."""
    with _Place.lock:
        _Place.count += 1
        token = _Place.path.suffix[1:] if _Place.path else ""
        return f"sandbox-{os.getpid()}-{token}-{_Place.count}"


def _leave(pid: int, path: Path) -> None:
    """Remove the directory of this process at its end. A child of fork(2) has another."""
    if os.getpid() == pid:
        _remove(path)


def _sweep(base: Path, own: Path) -> None:
    """Remove what processes that are gone have left in `base`. Their containers ended with them."""
    try:
        names = os.listdir(base)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            if base / name == own:
                continue  # closing any descriptor of the file would give up the lock
            fd = os.open(base / name / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if _lock(fd):
                    _remove(base / name)
            finally:
                os.close(fd)


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
