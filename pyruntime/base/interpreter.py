"""Calls a function of this package in a process of the interpreter's own, where this process cannot.

The program is linked statically (csrc/launcher/loader.c), and cannot load the extension modules that some libraries
need: jsonschema, pyroute2. For these the interpreter that the program was built for is executed, isolated as the
program is, with the package that is installed beside the program. Call and result are in one memfd, its standard input.
"""

import marshal
import select
import signal
import sys

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CODE = "import sys; sys.path += {path!r}; from pyruntime.base.interpreter import answer; answer()"
_MEMBERS = ("doing", "reason", "pointer", "value", "clause", "step", "call", "errno", "advice", "log", "log_of")
_LAST = 1000  # bytes of what the process has said
_FIRST_DESCRIPTOR = 3
_PATIENCE = 1000  # milliseconds after which a wait looks for signals
_TO_END = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


def is_apart() -> bool:
    """Tell whether this process is the program, which cannot load extension modules."""
    return "_launcher" in sys.builtin_module_names


def call(module: str, function: str, *arguments: object, descriptor: "int | None" = None) -> "Any":
    """Return `function(*arguments)` of a module of this package.

    module      name below the package
    arguments   and the result: what marshal stores
    descriptor  given to the process; the function gets its number there as the last argument

    Raises the Error or ImportError that the function raises, and Error if there is no interpreter, if it fails, and
    after it was killed because a signal that is blocked asks to give up.
    """
    path, packages = _places()
    asked = os.memfd_create("pyruntime-call", os.MFD_CLOEXEC)
    said = os.memfd_create("pyruntime-said", os.MFD_CLOEXEC)
    try:
        passed = {0: asked, 1: said, 2: said}
        if descriptor is not None:
            passed[_FIRST_DESCRIPTOR] = descriptor
            arguments = (*arguments, _FIRST_DESCRIPTOR)
        _write(asked, [module, function, arguments])
        status = _run([path, "-I", "-S", "-B", "-X", "utf8", "-c", _CODE.format(path=packages)], passed)
        words = os.pread(said, _LAST, max(os.fstat(said).st_size - _LAST, 0)).decode(errors="replace").strip()
        if status:
            raise Error(f"cannot run {path}", f"it ended with status {status}", log=words, log_of="its output")
        outcome, content = _read(asked)
    finally:
        os.close(asked)
        os.close(said)
    if outcome == "import":
        raise ImportError(content, name=content)
    if outcome == "error":
        error = unpacked(content)
        if words and not error.log:  # what was not undone
            error.log, error.log_of = words, "its output"
        raise error
    return content


def answer() -> None:
    """Replace the call in the file that is the standard input by its result. Runs in the other process."""
    from importlib import import_module  # late: only here

    module, function, arguments = _read(0)
    try:
        result = ["result", getattr(import_module(f"pyruntime.{module}"), function)(*arguments)]
    except ImportError as error:
        result = ["import", error.name or str(error)]
    except Error as error:
        result = ["error", packed(error)]
    _write(0, result)


def packed(error: Error) -> "dict[str, Any]":
    """Return an Error as what marshal stores."""
    return {name: getattr(error, name) for name in _MEMBERS} | {"step": str(error.step)}


def unpacked(members: "dict[str, Any]") -> Error:
    """Return the Error of `packed`."""
    return Error(**members)


def _places() -> "tuple[str, list[str]]":
    """Return the path of the interpreter and the directories of packages. Raises Error if there is no interpreter."""
    from _launcher import interpreter, library  # type: ignore[import-not-found]  # late: only the program has it

    path = interpreter()
    if path is None:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        raise Error(f"cannot run {version}", "no directory of interpreters has it", advice=f"install {version}")
    packages = [sys.path[-1]]
    if packages[0].endswith("/dist-packages"):  # as startup/embedded.py
        packages.append(f"{library().rpartition('/')[0]}/python3/dist-packages")
    return path, packages


def _run(command: "list[str]", passed: "dict[int, int]") -> int:
    """Execute a program with these descriptors, and no environment; return its exit status, negative for a signal.

    Raises Error after it was killed.
    """
    pid = os.posix_spawn(
        command[0],
        command,
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in passed.items()],
        setsigmask=[],
        setsigdef=range(1, 32),
    )
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not os.call(poll.poll, _PATIENCE):
            asked = _TO_END & signal.sigpending()
            if asked:
                os.kill(pid, signal.SIGKILL)
                raise Error(f"{command[0]} was killed", f"signal {min(asked).value} came")
    finally:
        os.close(pidfd)
        status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


def _write(fd: int, content: "Any") -> None:
    """Make `content` the whole of a file."""
    data, done = memoryview(marshal.dumps(content)), 0
    os.ftruncate(fd, 0)
    while done < len(data):
        done += os.pwrite(fd, data[done:], done)


def _read(fd: int) -> "Any":
    size, data = os.fstat(fd).st_size, b""
    while len(data) < size:
        data += os.pread(fd, size - len(data), len(data))
    return marshal.loads(data)
