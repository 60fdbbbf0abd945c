"""The program: found as execvp(3) finds it, checked at create, executed at start (config.md#process)."""

import _stat as stat
import errno

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.step import Step

_POINTER, _CLAUSE = "/process/args/0", "config.md#process"


def _search_path(env: "list[str]") -> str:
    """Return PATH as the program will see it; of several, the last one, as with runc."""
    for entry in reversed(env):
        if entry.startswith("PATH="):
            return entry[5:]
    return ""


def _executable(path: str) -> int:
    """Return 0 when the user of this process may execute the file `path`, otherwise the errno that says why not."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if stat.S_ISREG(mode) and os.access(path, os.X_OK) else errno.EACCES


def find(program: str, env: "list[str]") -> str:
    """Return the path of `program`: itself when it has a slash, otherwise the first executable file in PATH.

    Raises Error with the errno of the candidate that came closest.
    """
    if "/" in program:
        error = _executable(program)
        if not error:
            return program
        reason = ""
        if error == errno.EISDIR:
            # execve(2) itself says EACCES.
            reason, error = "it is a directory", errno.EACCES
        raise Error(f"cannot execute {program}", reason, pointer=_POINTER, value=program, clause=_CLAUSE, errno=error)
    worst = errno.ENOENT
    for directory in _search_path(env).split(":"):
        candidate = f"{directory or '.'}/{program}"
        error = _executable(candidate)
        if not error:
            return candidate
        if error == errno.EACCES:
            worst = error
    raise Error(
        f"cannot execute {program!r}",
        "executable file not found in $PATH",
        pointer=_POINTER,
        value=program,
        clause=_CLAUSE,
        errno=worst,
    )


def check(step: "Step") -> None:
    """Fail already at create when the program cannot be executed, as runc does."""
    find(step.args["argv"][0], step.args["env"])


def execute(step: "Step", connection: int, preserve_fds: int, raw: "Any") -> None:
    """Enforce Landlock, load the filter, and replace this process by the program. Raises Error when the kernel refuses.

    `raw` is what restrictions() returned.

    `connection` leads to `start`, which reads end-of-file from it as success: it closes at exec.

    Under the filter this process makes no call but execve, and before it sendmsg and close where there is an agent:
    all is made ready first, and the stub does the rest at once. Only to report a failure it makes more; a filter that
    does not let it through makes that failure look like the program's own end.

    Upholds runtime.md#lifecycle/program-run.
    """
    argv, env = step.args["argv"], step.args["env"]
    path = find(argv[0], env)
    close_range(3 + preserve_fds, at_exec=True)
    for fd in range(3, 3 + preserve_fds):
        os.set_inheritable(fd, True)  # hooks did not get them
    result = lib.pyr_reset_signals()
    if result < 0:
        raise Error("cannot reset the signals", clause=_CLAUSE, step="rt_sigaction", errno=-result)
    messages.send(connection, messages.EXECUTES)
    result = lib.pyr_execute(raw, os.fsencode(path), *_vectors(argv, env))
    if raw.call != ffi.NULL and ffi.string(raw.call) != b"execve":
        raise _not_loaded(raw, -result)
    raise Error(f"cannot execute {path}", pointer=_POINTER, value=argv[0], clause=_CLAUSE, errno=-result)


def close_range(first: int, *, at_exec: bool) -> None:
    """Close every descriptor from `first` on, now or when the program is executed. Raises Error."""
    result = lib.pyr_close_range(first, 0xFFFFFFFF, at_exec)
    if result < 0:
        raise Error("cannot close the host's descriptors", step=f"close_range({first})", errno=-result)


def restrictions(seccomp: "Filter | None", landlock: "list[Step]", ruleset: int) -> "Any":
    """Return `struct filter` (csrc/stub/filter.h): the filter, if any, and Landlock's ruleset by descriptor, or -1."""
    raw = seccomp.raw if seccomp is not None else ffi.new("struct filter *")
    raw.ruleset = -1
    for step in landlock:
        if step.op == "landlock_restrict_self":
            raw.ruleset = ruleset
            raw.capabilities |= step.args["capabilities"]
    return raw


def load(raw: "Any") -> None:
    """Enforce Landlock and load the filter, without executing anything. Raises Error."""
    result = lib.pyr_filter(raw)
    if result < 0:
        raise _not_loaded(raw, -result)


def _not_loaded(raw: "Any", error: int) -> Error:
    call = ffi.string(raw.call).decode()
    if call == "landlock_restrict_self":
        pointer, clause = "/annotations/org.pyruntime.landlock", "config.md#annotations"
        return Error("cannot enforce the Landlock ruleset", pointer=pointer, clause=clause, step=call, errno=error)
    doing = "cannot send the seccomp descriptor to the agent" if call == "sendmsg" else "cannot load the seccomp filter"
    return Error(doing, pointer="/linux/seccomp", clause="config-linux.md#seccomp", step=call, errno=error)


def _vectors(argv: "list[str]", env: "list[str]") -> "tuple[object, object]":
    """Return argv and env as C arrays. The environment goes as it stands: order, duplicates and all."""
    arrays = []
    for strings in (argv, env):
        items = [ffi.new("char[]", os.fsencode(text)) for text in strings]
        _PINNED.append(items)
        arrays.append(ffi.new("char *[]", [*items, ffi.NULL]))
    return arrays[0], arrays[1]


# cffi frees what nobody refers to; the arrays hold plain pointers.
_PINNED: "list[object]" = []
