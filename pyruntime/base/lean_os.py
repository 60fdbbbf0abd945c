"""A replacement for `os`: the system calls of `posix`, and the few other functions that the frequent verbs use.

Importing `os` takes as long as the rest of the interpreter's start, because of the abstract classes of `os.environ`.
For a name that is not defined here, `os` is imported when the name is used.

A system call that fails raises what it raises in `os`, which here is an Error, too: it names the call and its path
(`pyruntime.base.errors.refused`). Calls of other modules get the same by `call`.
"""

import _thread
import errno
import posix
import sys

from pyruntime.base.errors import Error, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import *  # noqa: F403
    from os import _exit
    from typing import ParamSpec, TypeVar

    _P = ParamSpec("_P")
    _T = TypeVar("_T")


def call(function: "Callable[_P, _T]", *arguments: "_P.args", **options: "_P.kwargs") -> "_T":
    """Return `function(*arguments)`, a system call of a module as `fcntl`; its OSError becomes that of `refused`."""
    try:
        return function(*arguments, **options)
    except OSError as error:
        about = error.filename if error.filename is not None else arguments[0] if arguments else ""
        raise refused(function.__name__, about, error) from None


_LOOK = 0.05  # seconds after which a thread that has not begun is asked for


def start_thread(function: "Callable[..., object]", *arguments: object) -> None:
    """Call `function(*arguments)` in a new thread, which has begun when this returns.

    Raises Error where there is no memory or no room for one.
    """
    began = _thread.allocate_lock()
    began.acquire()

    def run() -> None:
        began.release()
        function(*arguments)

    # A thread whose first frame finds no memory ends before any of its code. The hook must not need any either.
    lost: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, lost.append
    try:
        _thread.start_new_thread(run, ())
        while not began.acquire(timeout=_LOOK):
            if lost:
                raise RuntimeError("out of memory")
    except RuntimeError as error:  # which leaves out what clone3(2) or mmap(2) has answered
        raise Error("cannot start a thread", str(error), step=f"clone3({function.__name__})") from None
    finally:
        sys.unraisablehook = hook


if not TYPE_CHECKING:
    from posix import _exit  # noqa: F401

    SEEK_SET, SEEK_CUR, SEEK_END = range(3)
    _NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)

    _FUNCTION = type(posix.open)
    _ENCODING = sys.getfilesystemencoding()

    def fsencode(name: "str | bytes") -> bytes:
        """Return the bytes of a path, as os.fsencode."""
        return name if isinstance(name, bytes) else name.encode(_ENCODING, "surrogateescape")

    def fsdecode(name: "str | bytes") -> str:
        """Return a path as text, as os.fsdecode."""
        return name if isinstance(name, str) else name.decode(_ENCODING, "surrogateescape")

    def makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        """Make a directory and those above it that lack, as os.makedirs."""
        try:
            _make(name, mode, exist_ok)
        except FileNotFoundError:
            parent, _ = path.split(name.rstrip("/"))
            if not parent:
                raise
            makedirs(parent, exist_ok=True)
            _make(name, mode, exist_ok)  # somebody else may have been quicker

    def _make(name: str, mode: int, exist_ok: bool) -> None:
        try:
            call(posix.mkdir, name, mode)
        except FileNotFoundError:
            raise
        except OSError:
            if not exist_ok or not path.isdir(name):
                raise

    class _Path:
        """What is used of os.path; paths are text."""

        def __getattr__(self, name: str) -> object:
            from os import path  # late: what the module is there to avoid

            return getattr(path, name)

        @staticmethod
        def abspath(name: str) -> str:
            """Return `name` absolute, without "." and ".." and with single slashes, the leading one included."""
            parts: list[str] = []
            for part in (name if name.startswith("/") else f"{_working_directory(name)}/{name}").split("/"):
                if part == "..":
                    del parts[-1:]
                elif part not in ("", "."):
                    parts.append(part)
            return "/" + "/".join(parts)

        @staticmethod
        def join(folder: str, name: str) -> str:
            """Return the path of `name` in `folder`."""
            if name.startswith("/") or not folder:
                return name
            return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"

        @staticmethod
        def split(name: str) -> "tuple[str, str]":
            """Return the folder, without its trailing slashes, and the last part."""
            end = name.rfind("/") + 1
            return name[:end].rstrip("/") or name[:end], name[end:]

        @staticmethod
        def dirname(name: str) -> str:
            """Return the folder."""
            return path.split(name)[0]

        @staticmethod
        def basename(name: str) -> str:
            """Return the last part."""
            return path.split(name)[1]

        @staticmethod
        def exists(name: str) -> bool:
            """Tell whether there is something at `name`, where links lead."""
            return _mode(name) is not None

        @staticmethod
        def lexists(name: str) -> bool:
            """Tell whether there is something at `name`, be it a link."""
            return _mode(name, follow_symlinks=False) is not None

        @staticmethod
        def isdir(name: str) -> bool:
            """Tell whether there is a directory at `name`."""
            mode = _mode(name)
            return mode is not None and mode & 0o170000 == 0o040000

    path = _Path()

    def _working_directory(name: str) -> str:
        """Return the caller's, in which `name` is to be found. Raises Error where it has been deleted."""
        try:
            return posix.getcwd()
        except OSError as error:
            named = refused("getcwd", "", error)
            assert isinstance(named, Error)
            named.doing = f"cannot find {name!r}, a relative path"
            named.reason = "the current directory has been deleted" if isinstance(error, FileNotFoundError) else ""
            named.advice = "name an absolute path, or call from another directory"
            raise named from None

    def _mode(name: str, *, follow_symlinks: bool = True) -> "int | None":
        """Return the mode of what is at `name`, None where nothing is, or nothing that the caller may know of.

        Any other failure is one: unlike os.path, this does not take it for an answer.
        """
        try:
            return posix.stat(name, follow_symlinks=follow_symlinks).st_mode
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise refused("stat", name, error) from None
        except ValueError:  # a path with NUL
            return None

    def close(fd: int) -> None:
        """Close `fd`, as os.close. An interrupted close(2) has done its work: trying again would meet another file."""
        try:
            call(posix.close, fd)
        except InterruptedError:
            pass

    def _named(function: "Callable[..., object]") -> "Callable[..., object]":
        """Return a function of `posix` that is a system call, so that it fails as `call` does."""

        def named(*arguments: object, **options: object) -> object:
            try:
                return function(*arguments, **options)
            except OSError as error:
                about = error.filename if error.filename is not None else arguments[0] if arguments else ""
                raise refused(function.__name__, about, error) from None

        return named

    def __getattr__(name: str) -> object:
        # posix has the environment in bytes. A program that uses the package has `os`, and may have changed it there.
        if name == "environ" and "os" not in sys.modules:
            value: object = {fsdecode(name): fsdecode(value) for name, value in posix.environ.items()}
        elif name != "environ" and hasattr(posix, name):
            value = getattr(posix, name)
            if type(value) is _FUNCTION:
                value = _named(value)
        elif name[:2] == "__":  # as `from pyruntime.base.lean_os import …` asks for
            raise AttributeError(name)
        else:
            import os  # late: what the module is there to avoid

            value = getattr(os, name)
        globals()[name] = value
        return value


def make_names(names: "set[str]") -> None:
    """Make those of `names` that would be taken from `posix` on first use, but for what depends on the process."""
    for name in sorted(names & {*dir(posix)} - {"environ"}):
        getattr(sys.modules[__name__], name)
