"""The program's start from a snapshot (csrc/launcher/snapshot.c).

The build calls `prepare` and `settle`; each process that starts from the snapshot calls `program`, with the package
already imported. Modules of the package that are imported later are in the program as well. Files are searched for only
if a rare case needs a library.
"""

import _frozen_importlib as importlib
import _imp
import gc
import posix
import sys
import time

import pyruntime
from pyruntime.base.errors import CannotLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


# The frequent verbs, and what they import late, beyond what the rehearsal imports.
_HOT = """
    cli.main cli.verbs.run cli.verbs.exec cli.verbs.create cli.verbs.start cli.verbs.state cli.verbs.kill
    cli.verbs.delete cgroup.v1 cgroup.v2 cgroup.write cgroup.walk cgroup.remove protocol.run_hooks engine.seccomp.filter
    init.main store.lock_holder engine.caller.pid_file engine.caller.console_socket cli.verbs.events cli.verbs.list
    cli.verbs.ps
"""


class _Files:
    """The last finder of modules: on first use it sets the search path and adds the finder of files."""

    @classmethod
    def find_spec(cls, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """Set the search path, replace this finder by the finder of files, and call that."""
        from _launcher import library  # type: ignore[import-not-found]  # late: no other interpreter has it

        standard: str = library()
        sys.path[:0] = [standard, f"{standard}/lib-dynload"]
        # If a distribution installed the package, the libraries are in the distribution's directory as well.
        if sys.path[-1].endswith("/dist-packages"):
            sys.path.append(f"{standard.rpartition('/')[0]}/python3/dist-packages")
        sys.meta_path[:] = [finder if finder is not cls else _finder for finder in sys.meta_path]
        sys.modules["encodings"].__path__[:] = [f"{standard}/encodings"]
        # The time zone in `time` is that of the build.
        time.tzset()
        return _finder.find_spec(name, path, target)


_finder: "Any" = None


class _Stream:
    """sys.stdin, sys.stdout or sys.stderr, opened on first use.

    The process that took the snapshot had other streams. The package itself writes to descriptors
    (pyruntime/cli/output.py).
    """

    def __init__(self, name: str, number: int) -> None:
        self.__dict__.update(_name=name, _number=number)

    def __getattr__(self, name: str) -> object:
        stream = open(
            self.__dict__["_number"],
            "w" if self.__dict__["_number"] else "r",
            buffering=1,
            encoding="utf-8",
            errors="backslashreplace" if self.__dict__["_number"] == 2 else "surrogateescape",
            closefd=False,
        )
        setattr(sys, self.__dict__["_name"], stream)
        return getattr(stream, name)


def _find_and_load(name: str, import_: object) -> "ModuleType":
    """Import a module that is not imported yet, instead of importlib's function of that name.

    A module of the package is frozen or linked into the program, so no search is needed; the search by importlib would
    take a noticeable part of a `run`.
    """
    # Init clears this list to switch imports off.
    if not name.startswith("pyruntime.") or not sys.meta_path:
        return _load_file(name, import_)
    package, _, module = name.rpartition(".")
    if _imp.is_builtin(name):
        loader: Any = importlib.BuiltinImporter
        sys.modules[name] = loaded = _imp.create_builtin(importlib.ModuleSpec(name, loader, origin="built-in"))
        _imp.exec_builtin(loaded)
    elif _imp.is_frozen(name):
        parent = sys.modules.get(package) or _find_and_load(package, import_)
        if name not in sys.modules:  # the package itself may have imported it
            _imp.init_frozen(name)
        setattr(parent, module, sys.modules[name])
    else:
        return _load_file(name, import_)
    return sys.modules[name]


def _load_file(name: str, import_: object) -> "ModuleType":
    """Import a module of another package. Raises CannotLoad for a file that exists and cannot be loaded."""
    try:
        return _search(name, import_)
    except (CannotLoad, ModuleNotFoundError):
        raise
    except ImportError as error:
        raise CannotLoad(f"cannot load {name}", str(error), step=f"dlopen({error.path})") from None


_search: "Callable[[str, object], ModuleType]" = importlib._find_and_load  # type: ignore[attr-defined]


def prepare() -> "list[object]":
    """Import what the frequent verbs use, for a snapshot, and run it (pyruntime/startup/rehearsal.py).

    All other modules are imported on first use, because objects between the frequently used ones would be mapped with
    them. Returns the objects of the snapshot that the garbage collector tracks.
    """
    global _finder
    importlib._find_and_load = _find_and_load  # type: ignore[attr-defined]
    for name in _HOT.split():
        _find_and_load(f"pyruntime.{name}", __import__)
    pyruntime.startup.rehearsal.rehearse()
    # The environment and the streams are those of the build.
    posix.environ.clear()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream: Any = _Stream(name, number)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    *others, _finder = sys.meta_path
    sys.meta_path[:] = [*others, _Files]
    sys.path.clear()
    sys.path_importer_cache.clear()
    gc.collect()
    return gc.get_objects()


def settle() -> None:
    """Exclude all objects from garbage collection. The last call before the snapshot is taken."""
    gc.freeze()


def program(words: "list[str]", origin: str, packages: str) -> None:
    """Run the program.

    words     the command line
    origin    path of the program
    packages  directory of the package
    """
    sys.argv, sys.executable = words, origin
    sys.path.append(packages)
    sys.modules["pyruntime"].__path__[:] = [f"{packages}/pyruntime"]
    pyruntime.cli.main.program()
