"""The picture of `pyruntime timeline --svg`: a row for each process, a bar for each event."""

from pyruntime.base.events import HOOKS, HOST, INIT, KERNEL, PROGRAM, ROWS, STUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.trace_file import Bar

_WIDTH, _LEFT, _RIGHT, _TOP = 1000, 70, 20, 36  # pixels
_LANE, _BAR, _GAP = 18, 15, 10
_LETTER = 5.6  # pixels of one letter in the bars, about
_LISTED = 12  # the longest events stand below the picture
_COLOURS = {
    HOST: "#4c78a8",
    KERNEL: "#bab0ac",
    HOOKS: "#54a24b",
    STUB: "#f58518",
    INIT: "#e45756",
    PROGRAM: "#72b7b2",
}


def picture(bars: "list[Bar]") -> str:
    """Return the events as an SVG: time to the right, a row for each process, what lies in an event below it."""
    whole = max(0.001, *(bar.end for bar in bars))
    scale = (_WIDTH - _LEFT - _RIGHT) / whole
    tops, bottom = {}, _TOP
    for row in ROWS:
        inside = [bar.depth for bar in bars if bar.row == row]
        if inside:
            tops[row] = bottom
            bottom += (max(inside) + 1) * _LANE + _GAP
    longest = _longest(bars)
    height = bottom + 24 + 16 * (len(longest) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18">{_escaped(_title(bars))}: {whole:.1f} ms</text>',
    ]
    step = _step(whole)
    for count in range(int(whole / step) + 1):
        x = _LEFT + count * step * scale
        lines.append(f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{count * step:g} ms</text>')
    for row, top in tops.items():
        lines.append(f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{row}</text>')
    for bar in bars:
        lines += _drawn(bar, tops[bar.row] + bar.depth * _LANE, scale)
    lines.append(f'<text x="10" y="{bottom + 42}">What took longest</text>')
    for number, bar in enumerate(longest):
        about = f"  ({bar.pointer})" if bar.pointer else ""
        y = bottom + 60 + 16 * number
        lines.append(f'<rect x="10" y="{y - 10}" width="10" height="10" fill="{_COLOURS[bar.row]}"/>')
        lines.append(f'<text x="85" y="{y}" text-anchor="end">{bar.took:.2f} ms</text>')
        lines.append(f'<text x="97" y="{y}">{_escaped(_short(bar.what + about, 150))}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _title(bars: "list[Bar]") -> str:
    """Return what the event around all others says: the verb."""
    return next((bar.what for bar in bars if bar.row == HOST and not bar.depth and bar.took), "timeline")


def _longest(bars: "list[Bar]") -> "list[Bar]":
    """Return the events that took longest, without those that others lie in, and without waits for what is shown."""
    parents: set[int] = set()
    open_ones: dict[str, list[Bar]] = {}
    for bar in bars:
        above = open_ones.setdefault(bar.row, [])
        del above[bar.depth :]
        parents.update(id(parent) for parent in above)
        above.append(bar)
    leaves = [bar for bar in bars if bar.took and id(bar) not in parents and bar.row not in (KERNEL, PROGRAM)]
    return sorted(leaves, key=lambda bar: -bar.took)[:_LISTED]


def _drawn(bar: "Bar", top: int, scale: float) -> list[str]:
    """Return a bar with what it says, as far as that has room; all of it is shown where the pointer rests."""
    x, width = _LEFT + bar.begin * scale, max(bar.took * scale, 0.6)
    about = ", ".join(part for part in (bar.pointer, bar.clause) if part)
    hint = f"{bar.what}{f' ({about})' if about else ''}: {bar.took:.3f} ms at {bar.begin:.3f} ms"
    colour = _COLOURS[bar.row]
    if not bar.took:
        return [
            f'<path d="M{x:.1f} {top + _BAR}l-3 -5h6z" fill="#333"><title>{_escaped(hint)}</title></path>',
        ]
    found = [
        f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}" stroke="white" '
        f'stroke-width="0.4"><title>{_escaped(hint)}</title></rect>'
    ]
    room = int((width - 6) / _LETTER)
    if room >= 4:
        found.append(
            f'<text x="{x + 3:.1f}" y="{top + 11}" font-size="10" fill="white" pointer-events="none">'
            f"{_escaped(_short(bar.what, room))}</text>"
        )
    return found


def _step(whole: float) -> float:
    """Return the distance of the lines of the grid, in milliseconds: 1, 2 or 5 times a power of ten."""
    step = 0.001
    while True:
        for factor in (1, 2, 5):
            if whole / (step * factor) <= 12:
                return step * factor
        step *= 10


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
