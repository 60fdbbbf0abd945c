"""The error that users see: what was being done, why it failed, and the element and clause that it is about."""

# Both modules are built into the interpreter, so that importing them opens no file.
import errno as _errno
import posix

import pyruntime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST = 1000  # characters of what was being done
MOST_PROBLEMS = 1000  # findings of one document: who sends 140,000 of them reads none, and they take seconds to find


class Error(Exception):
    """An operation that failed, explained.

    doing    what was being done and on what: "cannot mount /data"
    reason   why it failed, in the words of the rule or of the caller; may be empty when `errno` says it all
    pointer  JSON pointer into config.json, "/mounts/7"; empty when no element of it is to blame
    value    the element found there (any JSON value), or None
    place    where that stands, "/bundle/config.json:12:5" (file, line, column); known to `validate` alone
    clause   clause of the runtime-spec, "config.md#mounts"
    step     what was done, a step of the plan or words: str() of it is shown, "move_mount(/data)"
    call     the system call of the step that failed, where the step makes several
    errno    the kernel's error number, 0 when the kernel was not the one to refuse
    advice   one sentence that helps, or empty
    log      what the kernel's own log (fsopen(2)) or a program that was run said, verbatim
    log_of   whose words those are
    """

    # What the program exits with.
    status = 1

    def __init__(
        self,
        doing: str,
        reason: str = "",
        *,
        pointer: str = "",
        value: object = None,
        clause: str = "",
        step: object = "",
        call: str = "",
        errno: int = 0,
        advice: str = "",
        log: str = "",
        log_of: str = "kernel's log",
    ) -> None:
        if len(doing) > _LONGEST:  # a name out of config.json, which `pointer` leads to
            doing = f"{doing[: _LONGEST - 1]}…"
        super().__init__(doing)
        self.doing = doing
        self.reason = reason
        self.pointer = pointer
        self.value = value
        self.place = ""
        self.clause = clause
        self.step = step
        self.call = call
        self.errno = errno
        self.advice = advice
        self.log = log
        self.log_of = log_of

    def show(self, config: object) -> None:
        """Take for `value` what `config` has at `pointer`, where nothing else was found there."""
        if self.pointer and self.value is None:
            self.value = pyruntime.base.json_pointer.element(config, self.pointer)

    @property
    def kernel(self) -> str:
        """The kernel's answer by name and in words: "ENOENT: no such file or directory"; empty without errno.

        The words begin in lower case as Go's do: Docker and Podman look for them to choose between their exit
        statuses 125, 126 and 127.
        """
        if not self.errno:
            return ""
        name = _errno.errorcode.get(self.errno, f"errno {self.errno}")
        words = posix.strerror(self.errno)
        return f"{name}: {words[:1].lower()}{words[1:]}"

    def __str__(self) -> str:
        """One line that stands alone: callers put it into their own messages and logs."""
        text = ": ".join(part for part in (self.doing, self.reason, self.kernel, self.log) if part)
        where = ", ".join(part for part in (self.pointer, self.clause) if part)
        return f"{text} ({where})" if where else text


def refused(call: str, about: object, error: OSError) -> OSError:
    """Return the error of a system call that nobody foresaw: an Error, and still the OSError that the kernel gave.

    So whoever handles either handles it, and where nobody does, the program names the call and what it was about.

    call   name of the call, "unlink"
    about  path or descriptor
    error  what the kernel answered
    """
    if isinstance(about, bytes):
        about = about.decode(errors="backslashreplace")
    step = f"{call}({about})"
    named = kind_of(type(error))(f"{step} failed", step=step, errno=error.errno or 0)
    named.filename = error.filename
    return named


_refusals: "dict[type[OSError], Callable[..., OSError]]" = {}


def kind_of(kind: "type[OSError]") -> "Callable[..., OSError]":
    """Return the class that is both an Error and `kind`, as FileNotFoundError."""
    if kind not in _refusals:
        _refusals[kind] = type(kind.__name__, (Error, kind), {"__doc__": refused.__doc__})
    return _refusals[kind]


class CannotLoad(Error, ImportError):
    """A part of the program that is loaded when it is needed, and cannot be: an extension module."""


class InvalidConfig(Error):
    """A configuration that the spec forbids; `problems` holds every finding as an Error of its own.

    Above MOST_PROBLEMS the search ends, and `reason` says that there are more.
    """

    def __init__(self, doing: str, problems: "Iterable[Error]") -> None:
        self.problems: list[Error] = []
        more = False
        for problem in problems:
            more = len(self.problems) == MOST_PROBLEMS
            if more:
                break
            self.problems.append(problem)
        count = len(self.problems)
        reason = f"{count} error{'s' if count != 1 else ''}"
        super().__init__(doing, f"more than {reason}, of which these are the first {count}" if more else reason)

    def __str__(self) -> str:
        """All findings, each on a line of its own after the heading."""
        return "\n".join([f"{self.doing}: {self.reason}", *(f"  {problem}" for problem in self.problems)])
