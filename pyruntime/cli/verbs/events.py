"""`events ID`: statistics and out-of-memory notices, one JSON object a line."""

from pyruntime.base.jsonio import dumps
from pyruntime.cli.output import write
from pyruntime.cli.parse import UsageError
from pyruntime.cli.state_root import state_root
from pyruntime.operations.events import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine

# As Go's time.ParseDuration; the longer names first, because "ms" ends like "s".
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}  # noqa: RUF001


def main(line: "CommandLine") -> int:
    """Print the events of the container named by the argument until it ends, or its statistics once."""
    text = line.options["interval"]
    interval = seconds(text)
    if interval is None or interval <= 0:
        raise UsageError(
            f"--interval {text}", "duration interval must be greater than 0", advice="write it like 500ms or 1m30s"
        )
    events(
        state_root(line.shared["root"]),
        line.arguments[0],
        interval,
        lambda event: write(dumps(event, compact=True) + "\n"),
        once=line.options["stats"],
    )
    return 0


def seconds(text: str) -> float | None:
    """Return how long "1m30s", "1.5h" or "500ms" is; None where it is no duration."""
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        amount, tail = rest[:digits], rest[digits:]
        unit = tail[: len(tail) - len(tail.lstrip("nuµμmsh"))]  # noqa: RUF001
        if unit not in _UNITS or not amount.strip(".") or amount.count(".") > 1:
            return None
        total += float(amount) * _UNITS[unit]
        rest = tail[len(unit) :]
    return total if text else None
