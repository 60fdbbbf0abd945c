"""The start in the launcher (csrc/launcher/launcher.c), where half of the interpreter is enough.

The first half knows the modules built into it and those frozen into the launcher; here it learns where the few
extension modules lie. It lacks what takes longer to set up than a whole `state` needs: the search for files, the
codecs, sys.stdout. That follows when a rare case imports a library or calls `open`.

Where the launcher holds a snapshot (csrc/launcher/snapshot.c), `prepare` was called when it was built, and `program`
finds the package imported.
"""

import _frozen_importlib as importlib
import _imp
import builtins
import gc
import posix
import sys
import time

from pyruntime.base import lean_os as os
from pyruntime.base.errors import CannotLoad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


# The verbs that callers use all the time, and what they import late, beyond what a rehearsal does.
_HOT = """
    cli.main cli.verbs.run cli.verbs.exec cli.verbs.create cli.verbs.start cli.verbs.state cli.verbs.kill
    cli.verbs.delete cgroup.v1 cgroup.v2 cgroup.write cgroup.walk cgroup.remove protocol.hooks engine.seccomp.filter
    init.labels store.lock_holder cli.verbs.events cli.verbs.list cli.verbs.ps
"""


class _Extensions:
    """Finds the extension modules of the hot verbs without a search, and loads them."""

    def __init__(self, dynload: str, packages: str, system: str) -> None:
        self.own = [f"{packages}/pyruntime"]
        self.cffi = [dynload, packages, system]
        # The others of any name are the interpreter's own.
        self.standard = [dynload]

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Return where the module is, or None (importlib.abc.MetaPathFinder)."""
        package, _, module = name.rpartition(".")
        places = self.standard
        if package == "pyruntime":
            places = self.own
        elif package:
            return None
        elif name == "_cffi_backend":
            places = self.cffi
        for place in places:
            for suffix in _imp.extension_suffixes():
                file = f"{place}/{module}{suffix}"
                if os.path.exists(file):
                    loader: Any = self
                    return importlib.ModuleSpec(name, loader, origin=file)
        return None

    @staticmethod
    def create_module(spec: "Any") -> "ModuleType":
        """Load the file (importlib.abc.Loader). Raises CannotLoad."""
        try:
            return _imp.create_dynamic(spec)
        except ImportError as error:
            raise CannotLoad(f"cannot load {spec.name}", str(error), step=f"dlopen({spec.origin})") from None

    @staticmethod
    def exec_module(module: "ModuleType") -> None:
        """Fill the module (importlib.abc.Loader)."""
        _imp.exec_dynamic(module)


class _Rest:
    """The last to be asked for a module: it brings the finders of the second half, which are asked after it."""

    done = False

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> None:
        """Start the second half, once (importlib.abc.MetaPathFinder)."""
        finish()


def finish() -> None:
    """Start the second half of the interpreter where that has not happened. Raises ImportError in a container."""
    if _Rest.done:
        return
    if _Rest not in sys.meta_path:
        raise ImportError("importing is switched off")
    from _launcher import finish as second_half  # type: ignore[import-not-found]

    # Its own imports must not come back here.
    _Rest.done = True
    second_half()
    # What `time` knows of the time zone may be from a snapshot.
    time.tzset()
    # Frozen packages have no directory, and all codecs but UTF-8 are files in it.
    sys.modules["encodings"].__path__[:] = [f"{sys.path[0]}/encodings"]


def _open(*arguments: "Any", **options: "Any") -> "Any":
    finish()
    return open(*arguments, **options)


def _find_and_load(name: str, import_: object) -> "ModuleType":
    """Import a module that is not there yet, in the place of importlib's function of that name.

    A module of the package is frozen, so that nothing needs finding: for the hundred of a `run`, what importlib does
    beyond that takes a millisecond.
    """
    # Init empties that list: importing is switched off then.
    if not name.startswith("pyruntime.") or not sys.meta_path or not _imp.is_frozen(name):
        return _search(name, import_)
    package, _, module = name.rpartition(".")
    parent = sys.modules.get(package) or _find_and_load(package, import_)
    _imp.init_frozen(name)
    setattr(parent, module, sys.modules[name])
    return sys.modules[name]


_search: "Callable[[str, object], ModuleType]" = importlib._find_and_load  # type: ignore[attr-defined]


class _Later:
    """`ffi` or `lib` of the stub in a snapshot, which holds no extension modules: their addresses change.

    The stub is loaded when something of it is first used that is not a constant.
    """

    def __init__(self, name: str, constants: "dict[str, int]") -> None:
        self.__dict__.update(constants, _name=name)

    def __getattr__(self, name: str) -> object:
        stub = sys.modules.get("pyruntime._stub") or _search("pyruntime._stub", __import__)
        value: object = getattr(getattr(stub, self.__dict__["_name"]), name)
        # Found there from now on, without coming here.
        self.__dict__[name] = value
        return value


def prepare() -> None:
    """Import what the hot verbs use, for a snapshot, and use it (pyruntime/startup/rehearsal.py).

    All else is imported when it is needed: what lies among the hot is mapped together with it.
    """
    from pyruntime._constants import LIB

    _replace()
    stub: Any = type(sys)("pyruntime._stub")
    stub.lib, stub.ffi = _Later("lib", LIB), _Later("ffi", {})
    sys.modules[stub.__name__] = stub
    for name in _HOT.split():
        _find_and_load(f"pyruntime.{name}", __import__)
    from pyruntime.startup.rehearsal import rehearse

    rehearse()
    del sys.modules[stub.__name__]
    # Of the process that takes the snapshot.
    posix.environ.clear()
    gc.collect()
    gc.freeze()


def _replace() -> None:
    importlib._find_and_load = _find_and_load  # type: ignore[attr-defined]
    builtins.open = _open


def program(dynload: str, packages: str, system: str) -> None:
    """Run the program.

    dynload   directory of the interpreter's own extension modules
    packages  directory of the package
    system    another one that may have cffi, or ""
    """
    sys.modules["pyruntime"].__path__[:] = [f"{packages}/pyruntime"]
    finders: list[Any] = [_Extensions(dynload, packages, system), _Rest]
    sys.meta_path += finders
    _replace()
    from pyruntime.cli.main import program

    program()
