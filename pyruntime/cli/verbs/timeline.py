"""`timeline FILE`: print what a trace of --trace holds, as text or as a picture."""

import pyruntime
from pyruntime.cli.output import write
from pyruntime.cli.trace_file import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine
    from pyruntime.cli.trace_file import Bar

_BAR = 32  # characters for the whole time


def main(line: "CommandLine") -> int:
    """Print the trace in the file named by the argument; "-" is standard input. Raises Error when it is none."""
    bars = read(line.arguments[0])
    if line.options["svg"]:
        write(pyruntime.cli.timeline_svg.picture(bars))
    else:
        write(as_text(bars))
    return 0


def as_text(bars: "list[Bar]") -> str:
    """Return a line for each event: when it began, what it took, where that is in the whole, and what it was."""
    whole = max(bar.end for bar in bars)
    lines = [f"{'begin ms':>10} {'took ms':>10}  {'':<{_BAR}}  process"]
    for bar in bars:
        took = f"{bar.took:.3f}" if bar.took else ""
        about = ", ".join(part for part in (bar.pointer, bar.clause) if part)
        lines.append(
            f"{bar.begin:>10.3f} {took:>10}  {_drawn(bar, whole)}  {bar.row:<8}"
            f"{'  ' * bar.depth}{bar.what}{f'  ({about})' if about else ''}"
        )
    return "".join(f"{line}\n" for line in lines)


def _drawn(bar: "Bar", whole: float) -> str:
    """Return the event as a bar of characters in the whole time."""
    scale = _BAR / whole if whole else 0
    first = min(int(bar.begin * scale), _BAR - 1)
    last = min(max(int(bar.end * scale), first), _BAR - 1)
    mark = "=" * (last - first + 1) if bar.took else "|"
    return f"{' ' * first}{mark}".ljust(_BAR)
