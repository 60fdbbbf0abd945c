"""What the benchmark has measured on each release of Debian: kept in figures/, one file a release."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path

import page

FIGURES = Path(__file__).with_name("figures")


def keep(titles: "Sequence[str]", rows: "Sequence[page.Row]") -> None:
    """Write the ratios of processor time on this release.

    titles  the runtimes with their versions, pyruntime first
    """
    system = platform.freedesktop_os_release()
    name = f"{system['ID']}-{system.get('VERSION_ID', 'testing')}"
    data = {
        "release": f"{system['ID'].capitalize()} {system.get('VERSION_ID', 'testing')}",
        "python": platform.python_version(),
        "peers": list(titles[1:]),
        "ratios": {label: compared for label, _, compared in rows},
    }
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


def table() -> str:
    """Return the ratios on all releases as a Markdown table."""
    kept = [json.loads(path.read_text()) for path in sorted(FIGURES.glob("*.json"))]
    head = [""]
    for each in kept:
        head += [f"{each['release']}, Python {each['python']}: to {peer}" for peer in each["peers"]]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for label in kept[0]["ratios"]:
        cells = []
        for each in kept:
            compared = each["ratios"].get(label, {})
            cells += [f"{compared[peer]:.2f}" if peer in compared else "" for peer in map(_name, each["peers"])]
        lines.append(f"| {' | '.join([label, *cells])} |")
    return "\n".join(lines)


def _name(title: str) -> str:
    return title.split(maxsplit=1)[0]
