"""What was done, when, and by which process: the one place where the events of --debug and --trace are made.

Loaded only when one of the two is given: `log.events` is None otherwise, and whoever has something to tell looks at it
first. Times are CLOCK_REALTIME, in nanoseconds: a time namespace changes the other clocks.
"""

import time

from pyruntime.base import jsonio
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.base.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Step(Protocol):
        """What is used here of a step of the plan (pyruntime/plan/step.py)."""

        @property
        def pointer(self) -> str: ...
        @property
        def clause(self) -> str: ...
        def for_a_log(self) -> str: ...


# The rows of a timeline, in their order, and what they show.
HOST, KERNEL, HOOKS, STUB, INIT, PROGRAM = "host", "kernel", "hooks", "stub", "init", "program"
ROWS = {
    HOST: "host: what the verb does",
    KERNEL: "kernel: what the host waits for",
    HOOKS: "hooks",
    STUB: "stub: steps in the container's namespaces",
    INIT: "init: the container's first process",
    PROGRAM: "program",
}
# Rows of another process than the verb's own.
_INSIDE = frozenset([STUB, INIT, PROGRAM])

_MOST = 20000  # events of one process: the container's first process must not fill the host's disk
_LONGEST = 2000  # characters of one event


class Event:
    """Something that was done, or that happened.

    row      which process it is about: one of ROWS
    what     in words, or the step of the plan
    begin    nanoseconds since the epoch
    end      the same; equal to `begin` for what takes no time, such as a message
    pointer  JSON pointer of the element of config.json that asks for it, or ""
    clause   of the runtime-spec, or ""
    """

    __slots__ = ("_what", "begin", "clause", "end", "pointer", "row")

    def __init__(self, row: str, what: "str | Step", begin: int, end: int = 0) -> None:
        self.row = row
        self.begin = begin
        self.end = end or begin
        self.pointer = self.clause = ""
        if not isinstance(what, str):
            self.pointer, self.clause = what.pointer, what.clause
        self._what = what

    @property
    def what(self) -> str:
        """What was done, in words or as a call. Made when it is written, because that takes longer than many a step."""
        what = printable(self._what if isinstance(self._what, str) else self._what.for_a_log())
        return what if len(what) <= _LONGEST else f"{what[: _LONGEST - 1]}…"


class Events:
    """What `log.events` may be. Here is what a process does that makes no difference between the two sides.

    child  pid of the process that the stub and init are, 0 while there is none
    """

    child = 0

    def begin(self, what: "str | Step", row: str = "") -> None:
        """Something begins that may contain other events; `end` says that it is done."""

    def end(self) -> None:
        """What was begun last, and has not ended, is done."""

    def done(self, what: "str | Step") -> None:
        """Something is done that this process began when it was done with what it did before."""

    def note(self, what: "str | Step") -> None:
        """Something happened at this moment."""

    def mark(self, what: "str | Step", begin: int, end: int) -> None:
        """A step of the stub took from `begin` to `end`."""

    def told(self, message: bytes) -> None:
        """An event of init, as `Teller` has sent it."""

    def flush(self) -> None:
        """Write to the trace what it lacks: what follows may take as long as the container lives."""

    def finish(self, error: "Error | None" = None) -> None:
        """The verb is done, or has failed with `error`: write the rest, and close the trace."""


class Recorder(Events):
    """The events of this process, and those that the container's process tells of.

    Writes a line of the log for each when --debug was given, and the trace-event format that Perfetto and
    chrome://tracing read when --trace was given.

    debug    writes a line of the log, about what happened at a time in nanoseconds since the epoch
    warning  writes a warning
    """

    def __init__(self, debug: "Callable[[str, int], None]", warning: "Callable[[str], None]") -> None:
        self._write_line = debug
        self._warn = warning
        self.start = self._last = time.time_ns()
        self.verb = ""
        self._finished = False
        self._debug = False
        self._trace = -1
        self._path = ""
        self._open: list[Event] = []
        self._waiting: list[Event] = []  # to be written to the trace
        self._count = 0

    def debug(self) -> None:
        """Write a line of the log for each event from now on."""
        self._debug = True

    def trace(self, path: str) -> None:
        """Write the trace to the file `path`, which is replaced. Raises Error when it cannot be opened."""
        self._close()
        fd = -1
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            # A file that cannot be written to is an error now, before anything is made.
            os.write(fd, b"[\n")
        except (OSError, ValueError) as error:
            if fd >= 0:
                os.close(fd)
            raise Error(f"cannot write the trace {path!r}", errno=getattr(error, "errno", 0) or 0) from None
        self._trace, self._path = fd, path

    def _close(self) -> None:
        if self._trace >= 0:
            os.close(self._trace)
            self._trace = -1

    # ---- What this process does ----

    def begin(self, what: "str | Step", row: str = "") -> None:  # noqa: D102  # as its base
        row = row or HOST
        event = Event(row, what, time.time_ns())
        self._open.append(event)
        self._last = event.begin
        if row in (KERNEL, HOOKS):
            # It may take long, so the log shows its beginning as well.
            self._log(event, begins=True)

    def end(self) -> None:  # noqa: D102
        if self._open:
            event = self._open.pop()
            event.end = self._last = time.time_ns()
            self._add(event)

    def done(self, what: "str | Step") -> None:  # noqa: D102
        event = Event(HOST, what, self._last, time.time_ns())
        self._last = event.end
        self._add(event)

    def note(self, what: "str | Step") -> None:  # noqa: D102
        self._add(Event(HOST, what, time.time_ns()))

    # ---- Events of the container's process ----

    def mark(self, what: "str | Step", begin: int, end: int) -> None:  # noqa: D102
        if self._count < _MOST and 0 <= begin <= end < 1 << 63:
            self._add(Event(STUB, what, begin, end))

    def told(self, message: bytes) -> None:
        """Take an event of init. What makes no sense is left out: who may trace init may speak for it."""
        if self._count >= _MOST:
            return
        try:
            fields: Any = jsonio.loads(message[1:].decode())
            row, what, begin, end, pointer, clause = fields
            event = Event(row if row in ROWS else INIT, str(what), int(begin), int(end))
            event.pointer, event.clause = printable(str(pointer)), printable(str(clause))
        except (ValueError, TypeError, OverflowError):
            return
        if 0 <= event.begin <= event.end < 1 << 63:
            self._add(event)

    # ---- Where events go ----

    def _add(self, event: Event) -> None:
        self._count += 1
        if self._debug:
            self._log(event)
        if self._trace >= 0:
            self._waiting.append(event)

    def _log(self, event: Event, *, begins: bool = False) -> None:
        if not self._debug:
            return
        pid = self.child if event.row in _INSIDE else os.getpid()
        since = (event.end - self.start) / 1e6 if not begins else (event.begin - self.start) / 1e6
        about = ", ".join(part for part in (event.pointer, event.clause) if part)
        took = f" [{(event.end - event.begin) / 1e6:.3f} ms]" if event.end > event.begin else ""
        self._write_line(
            f"+{since:.3f} ms {event.row}[{pid}]: {'begin: ' if begins else ''}{event.what}"
            f"{f' ({about})' if about else ''}{took}",
            event.begin if begins else event.end,
        )

    def flush(self) -> None:  # noqa: D102
        if self._trace < 0:
            return
        events, self._waiting = self._waiting, []
        text = "".join(f"{jsonio.dumps(self._as_json(event))},\n" for event in events)
        self._write(text)

    def finish(self, error: "Error | None" = None) -> None:  # noqa: D102
        if self._finished:
            return
        self._finished = True
        if error is not None:
            self.note(f"error: {error}")
        while self._open:
            self.end()
        self._add(Event(HOST, f"pyruntime {self.verb}", self.start, time.time_ns()))
        if self._trace < 0:
            return
        self.flush()
        # The names of the rows end the list, because a comma may not.
        names = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": words}}
            for number, words in enumerate(ROWS.values(), 1)
        ]
        title = {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": f"pyruntime {self.verb}".strip()}}
        self._write(",\n".join(jsonio.dumps(entry) for entry in (*names, title)) + "\n]\n")
        self._close()

    def _as_json(self, event: Event) -> "dict[str, object]":
        """Return the event in the trace-event format: https://ui.perfetto.dev reads it. Its times are microseconds."""
        args: dict[str, object] = {"pid": self.child if event.row in _INSIDE else os.getpid()}
        if event.pointer:
            args["pointer"] = event.pointer
        if event.clause:
            args["clause"] = event.clause
        found: dict[str, object] = {
            "name": event.what,
            "cat": event.row,
            "pid": 1,
            "tid": [*ROWS].index(event.row) + 1,
            "ts": (event.begin - self.start) / 1000,
            "args": args,
        }
        if event.end > event.begin:
            found.update(ph="X", dur=(event.end - event.begin) / 1000)
        else:
            found.update(ph="i", s="t")
        return found

    def _write(self, text: str) -> None:
        """Write to the trace; where that fails, the container goes on and the trace ends."""
        content = text.encode("utf-8", "replace")
        try:
            while content and self._trace >= 0:
                content = content[os.write(self._trace, content) :]
        except OSError as error:
            self._warn(f"cannot write the trace {self._path!r}: {error}")
            self._close()


class Teller(Events):
    """The recorder of init, which sends each event to the host by `send`.

    Init has no descriptor of the log or the trace, because the container could reach such files of the host.
    """

    def __init__(self, send: "Callable[[bytes], object]") -> None:
        self._send = send
        self._open: list[tuple[int, str, str | Step]] = []

    def begin(self, what: "str | Step", row: str = "") -> None:  # noqa: D102
        self._open.append((time.time_ns(), row or INIT, what))

    def end(self) -> None:  # noqa: D102
        if self._open:
            begin, row, what = self._open.pop()
            event = Event(row, what, begin, time.time_ns())
            words = [event.row, event.what, event.begin, event.end, event.pointer, event.clause]
            self._send(b"D" + jsonio.dumps(words).encode("utf-8", "replace") + b"\n")
