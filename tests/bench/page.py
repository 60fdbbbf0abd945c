"""The benchmark's page and picture: docs/benchmarks.md and docs/benchmarks.svg."""

from collections.abc import Sequence
from html import escape

import clock

Row = tuple[str, "dict[str, str]", "dict[str, float]"]  # label, cell by runtime, ratio by the other runtime

# The picture: pixels.
LABEL, WIDTH, LINE, TOP = 190, 420, 34, 46
# The ratios that the picture shows go to this one.
LONGEST = 4.0
COLOURS = {"runc": "#4c78a8", "crun": "#f58518"}


def ratios(values: "dict[str, float]") -> "dict[str, float]":
    """Return what pyruntime's value is of each other runtime's."""
    return {name: values["pyruntime"] / value for name, value in values.items() if name != "pyruntime" and value}


def timed(label: str, costs: clock.Costs) -> Row:
    """Return the row of times in milliseconds: medians, and the range of 80 % of the runs."""
    cells = {}
    for name, values in costs.items():
        low, high = clock.spread([cost.wall for cost in values])
        cells[name] = f"{clock.median([cost.wall for cost in values]):.1f} ({low:.1f} to {high:.1f})"
    return label, cells, ratios({name: clock.median([cost.wall for cost in each]) for name, each in costs.items()})


def used(label: str, costs: clock.Costs) -> Row:
    """Return the row of processor time in milliseconds, with page faults in brackets; the ratio is that of time."""
    cells, times = {}, {}
    for name, values in costs.items():
        times[name] = clock.median([cost.cpu for cost in values])
        cells[name] = f"{times[name]:.1f} ({clock.median([cost.faults for cost in values]):,.0f})"
    return label, cells, ratios(times)


def plain(label: str, values: "dict[str, float]", form: str = "{:.1f}") -> Row:
    """Return the row of one figure for each runtime."""
    return label, {name: form.format(value) for name, value in values.items()}, ratios(values)


def table(names: "Sequence[str]", titles: "Sequence[str]", rows: "Sequence[Row]") -> str:
    """Return rows as a Markdown table.

    names   the runtimes, pyruntime first
    titles  what the head calls them
    """
    others = names[1:]
    head = ["", *titles, *(f"ratio to {name}" for name in others)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for label, cells, compared in rows:
        figures = [f"{compared[name]:.2f}" if name in compared else "" for name in others]
        lines.append(f"| {' | '.join([label, *(cells.get(name, '') for name in names), *figures])} |")
    return "\n".join(lines)


def picture(rows: "Sequence[Row]") -> str:
    """Return the ratios as an SVG: a bar for each other runtime, and the line at which both are equal."""
    height = TOP + LINE * len(rows) + 24
    scale = WIDTH / LONGEST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + WIDTH + 60}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="18">Time of pyruntime as a ratio (shorter is better)</text>',
    ]
    for number, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<rect x="{LABEL + 200 + 80 * number}" y="9" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LABEL + 215 + 80 * number}" y="18">to {name}</text>')
    for number, (label, _, compared) in enumerate(rows):
        top = TOP + LINE * number
        parts.append(f'<text x="{LABEL - 8}" y="{top + 16}" text-anchor="end">{escape(label.replace("`", ""))}</text>')
        for bar, (name, colour) in enumerate(COLOURS.items()):
            length = min(compared[name], LONGEST) * scale
            y = top + 13 * bar
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.0f}" height="11" fill="{colour}"/>')
            parts.append(f'<text x="{LABEL + length + 4:.0f}" y="{y + 10}" font-size="10">{compared[name]:.2f}</text>')
    for ratio in range(int(LONGEST) + 1):
        x = LABEL + ratio * scale
        colour = "#000" if ratio == 1 else "#ddd"
        parts.append(f'<line x1="{x:.0f}" y1="{TOP - 6}" x2="{x:.0f}" y2="{height - 22}" stroke="{colour}"/>')
        parts.append(f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">{ratio}</text>')
    return "\n".join([*parts, "</svg>", ""])
