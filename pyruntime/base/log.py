"""The log of `--log`, `--log-format` and `--debug`: lines for the program that called pyruntime.

The format is what callers of runc read: logfmt text, or one JSON object a line with `level`, `msg` and `time`
(RFC 3339). go-runc and containerd take the last line whose level is "error" as the reason of a failure.
"""

import time

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.base.events import Events

STDERR = 2

# What takes the events of --debug and --trace, None without both. Whoever has an event to tell looks at this variable
# first, so that without them nothing is called, loaded or made.
events: "Events | None" = None


class _Log:
    """Where the lines go: one of these a process, because there is one --log."""

    __slots__ = ("debug", "fd", "json")

    def __init__(self) -> None:
        self.fd = STDERR
        self.json = False
        self.debug = False


_log = _Log()


def configure(path: str, form: str, debug: bool, trace: str = "", verb: str = "") -> None:
    """Send the log to the file `path` (appended to, made 0644; empty: stderr) in `form` "text" or "json".

    debug  write a line for each event (events.py)
    trace  write the events of `verb` to this file; empty for none

    Raises Error when a file cannot be opened: a caller that asked for a log or a trace must not run without it.
    """
    global events
    _log.json = form == "json"
    _log.debug = debug
    if path:
        try:
            _log.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except (OSError, ValueError) as error:
            raise Error(f"cannot open the log {path!r}", errno=getattr(error, "errno", 0) or 0) from None
    if debug or trace:
        recorder = (
            events
            if isinstance(events, pyruntime.base.events.Recorder)
            else pyruntime.base.events.Recorder(_event, warning)
        )
        events = recorder
        recorder.verb = verb
        if debug:
            recorder.debug()
        if trace:
            recorder.trace(trace)


def stderr_is_for_people() -> bool:
    """Tell whether stderr carries words for people: always, but where JSON without a log file was asked for."""
    return not (_log.json and _log.fd == STDERR)


def goes_to_file() -> bool:
    """Tell whether --log named a file."""
    return _log.fd != STDERR


def debugging() -> bool:
    """Tell whether --debug was given, for callers whose message takes work to make."""
    return _log.debug


def error(message: str) -> None:
    """Write a line of level error: the reason why the whole command fails."""
    _write("error", message)


def warning(message: str) -> None:
    """Write a line of level warning: something went another way than asked, and the command goes on.

    Upholds runtime.md#warnings/operation-continues.
    """
    _write("warning", message)


def debug(message: str) -> None:
    """Write a line of level debug when --debug was given."""
    if _log.debug:
        _write("debug", message)


def _event(message: str, at: int) -> None:
    """Write a line of level debug about what happened at a time in nanoseconds since the epoch."""
    _write("debug", message, at)


def _write(level: str, message: str, at: int = 0) -> None:
    """Write one line with one write(2), so that lines of several processes do not mix."""
    if _log.fd == STDERR and not _log.json:
        if not message.isprintable():
            message = pyruntime.base.printable.printable(
                message, "\n" if level == "debug" else ""
            )  # a traceback has lines
        line = f"pyruntime: {level}: {message}\n"
    else:
        line = _as_json(level, message, at) if _log.json else _as_text(level, message, at)
    # A full disk or a closed stderr must not turn a success into a failure.
    try:
        os.write(_log.fd, line.encode("utf-8", "surrogateescape"))
    except OSError:
        pass


def _time(at: int) -> str:
    """Return a time, 0 for now, as RFC 3339 in UTC with microseconds."""
    seconds, nanoseconds = divmod(at or time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds // 1000:06}Z"


def _as_json(level: str, message: str, at: int) -> str:
    # A lone surrogate is a byte that is not UTF-8; Go's decoder would replace its escape silently.
    message = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return pyruntime.base.jsonio.dumps({"level": level, "msg": message, "time": _time(at)}) + "\n"


def _as_text(level: str, message: str, at: int) -> str:
    # logfmt quotes as Go does; JSON's quoting is the same but for what lies outside ASCII, which we leave as it is.
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    quoted = "".join(char if char >= " " else pyruntime.base.jsonio.dumps(char)[1:-1] for char in quoted)
    return f'time="{_time(at)}" level={level} msg="{quoted}"\n'
