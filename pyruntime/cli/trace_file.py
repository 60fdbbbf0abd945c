"""The file that --trace writes, read again for `timeline`."""

from pyruntime.base import jsonio
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.base.events import ROWS
from pyruntime.base.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 1 << 28  # bytes
_SAME = 1e-6  # milliseconds: one nanosecond, the difference that the sum of two numbers may make


class Bar:
    """An event of a trace. Times are milliseconds since the first event began.

    row    which process it is about: one of the names in pyruntime.base.events.ROWS
    depth  how many events of its row it lies in
    took   0.0 for what takes no time
    """

    __slots__ = ("begin", "clause", "depth", "pointer", "row", "took", "what")

    def __init__(self, row: str, what: str, begin: float, took: float, pointer: str, clause: str) -> None:
        self.row = row
        self.what = what
        self.begin = begin
        self.took = took
        self.pointer = pointer
        self.clause = clause
        self.depth = 0

    @property
    def end(self) -> float:
        """When it was done."""
        return self.begin + self.took


def read(path: str) -> list[Bar]:
    """Return the events of the trace at `path`, "-" for standard input, in the order in which they began.

    The last events may be missing, where pyruntime was killed. Raises Error when it cannot be read or is no trace.
    """
    doing = f"cannot read the trace {path!r}"
    try:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        content = bytearray()
        while chunk := os.read(fd, 1 << 16):
            content += chunk
            if len(content) > _LARGEST:
                raise Error(doing, f"it has more than {_LARGEST} bytes")
        text = content.decode()
    except (OSError, ValueError) as error:
        raise Error(doing, "" if isinstance(error, OSError) else str(error), errno=getattr(error, "errno", 0)) from None
    found = []
    for number, words in enumerate(text.splitlines(), 1):
        entry = words.strip().removesuffix(",")
        if entry in ("", "[", "]"):
            continue
        try:
            bar = _bar(jsonio.loads(entry))
        except (ValueError, TypeError, KeyError, AttributeError):
            reason = f"line {number} is no event of pyruntime"
            raise Error(doing, reason, advice="`pyruntime run --trace FILE` writes one") from None
        if bar is not None:
            found.append(bar)
    if not found:
        raise Error(doing, "it has no events", advice="`pyruntime run --trace FILE` writes one")
    return _nested(found)


def _bar(entry: "Any") -> Bar | None:
    """Return what an event of the trace says; None for the name of a row. Raises ValueError, TypeError, KeyError."""
    if entry["ph"] == "M":
        return None
    if entry["ph"] not in ("X", "i") or entry["cat"] not in ROWS:
        raise ValueError
    args = entry.get("args") or {}
    words = [printable(str(text)) for text in (entry["name"], args.get("pointer", ""), args.get("clause", ""))]
    begin, took = float(entry["ts"]) / 1000, float(entry.get("dur", 0)) / 1000
    if not (abs(begin) < 1e12 and 0 <= took < 1e12):
        raise ValueError
    return Bar(entry["cat"], words[0], begin, took, words[1], words[2])


def _nested(bars: list[Bar]) -> list[Bar]:
    """Order the events by their begin, count from the first, and find out which lies in which."""
    bars.sort(key=lambda bar: (bar.begin, -bar.took))
    zero = bars[0].begin
    around: dict[str, list[Bar]] = {}
    for bar in bars:
        bar.begin -= zero
        open_ones = around.setdefault(bar.row, [])
        while open_ones and (open_ones[-1].end < bar.end - _SAME or open_ones[-1].end <= bar.begin + _SAME):
            open_ones.pop()
        bar.depth = len(open_ones)
        open_ones.append(bar)
    return bars
