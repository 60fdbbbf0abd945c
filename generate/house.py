"""The house: which module of the package imports which, the floors they stand on, and the picture of both.

floors.json has the floors from top to bottom. An import may lead to a lower floor, or to another module of the same
room; rooms that share a floor do not know each other. tests/unit/test_house.py holds the package to that. What is
counted is every import in the sources, also those inside of functions and for type checkers.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
PACKAGE = PROJECT / "pyruntime"
DATA: "dict[str, Any]" = json.loads((HERE / "floors.json").read_text())
FLOORS: "list[dict[str, Any]]" = DATA["floors"]

# `python3 -m pyruntime` starts the program as the launcher does.
AT_THE_TOP = "__main__"
ROOM_OF = {AT_THE_TOP: "startup"}
RANK = {room: number for number, floor in enumerate(reversed(FLOORS)) for room in floor["rooms"]}


def modules() -> "dict[str, Path]":
    """Return the modules of the package by their name in it: "plan.mounts"; "" is the package itself.

    Extension modules and what the build generates are not among them, nor is __init__.pyi: the package only names its
    public functions, and loads one when somebody outside asks for it.
    """
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if not parts[-1].startswith("_") or parts[-1] in ("__init__", "__main__"):
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports() -> "Iterator[tuple[str, str]]":
    """Yield (module, module that it imports) for the modules of the package, by their names in it."""
    yield from ((name, target) for name, target, _ in _imports())


def _imports() -> "Iterator[tuple[str, str, str]]":
    """Yield (module, module that it imports, when): "start", "late" in a function, "types" for type checkers."""
    known = modules()
    for name, path in known.items():
        for node, when in _walk(ast.parse(path.read_text()), "start"):
            targets = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            for target in targets:
                first, _, place = target.partition(".")
                # A name in a module is that module; what is generated, or an extension, is not the package's.
                while place not in known and not place.rpartition(".")[2].startswith("_"):
                    place = place.rpartition(".")[0]
                if first == "pyruntime" and place in known and place not in ("", name):
                    yield name, place, when


def _walk(node: ast.AST, when: str) -> "Iterator[tuple[ast.AST, str]]":
    """Yield what is below `node`, and when it is carried out."""
    for child in ast.iter_child_nodes(node):
        now = when
        if isinstance(child, ast.FunctionDef):
            now = "late"
        elif isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            now = "types"
        yield child, now
        yield from _walk(child, now)


def late_for_nothing() -> "list[str]":
    """Return the imports in functions of what the module has loaded by then, by what it imports at its start."""
    loaded: dict[str, set[str]] = {}
    found = list(_imports())
    for name, target, when in found:
        if when == "start":
            loaded.setdefault(name, set()).add(target)

    def reached(name: str) -> "set[str]":
        return {name, *(further for below in loaded.get(name, ()) for further in reached(below))}

    return [f"{name} imports {target}" for name, target, when in found if when == "late" and target in reached(name)]


def room(module: str) -> str:
    """Return the room that a module is in: the folder right below the package."""
    return ROOM_OF.get(module, module.partition(".")[0])


def wrong_arrows() -> "list[str]":
    """Return the imports that lead up, or into another room of the same floor."""
    return [
        f"{name} imports {target}"
        for name, target in dict.fromkeys(imports())
        if room(name) != room(target) and RANK[room(target)] >= RANK[room(name)]
    ]


def circles() -> "list[list[str]]":
    """Return the circles of modules that import each other: each as the way from a module back to it."""
    graph: dict[str, list[str]] = {}
    for name, target in dict.fromkeys(imports()):
        graph.setdefault(name, []).append(target)
    found, done = [], set()

    def follow(name: str, way: "list[str]") -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for target in graph.get(name, ()):
                follow(target, [*way, name])
            done.add(name)

    for name in graph:
        follow(name, [])
    return found


# ---- The picture ----

_WIDTH, _LEFT, _GAP = 880, 16, 20
_HEIGHT, _BETWEEN = 54, 26


def _boxes() -> "dict[str, tuple[float, float, float]]":
    """Return room -> its left edge, top and width."""
    boxes = {}
    for number, floor in enumerate(FLOORS):
        count = len(floor["rooms"])
        width = (_WIDTH - 2 * _LEFT - _GAP * (count - 1)) / count
        for place, name in enumerate(floor["rooms"]):
            boxes[name] = (_LEFT + place * (width + _GAP), 12 + number * (_HEIGHT + _BETWEEN), width)
    return boxes


def _arrows() -> "list[tuple[str, str]]":
    """Return which room uses which, without those that follow from others: what is two floors down by way of one."""
    uses: dict[str, set[str]] = {name: set() for name in RANK}
    for name, target in imports():
        if room(name) != room(target):
            uses[room(name)].add(room(target))

    def reached(name: str) -> "set[str]":
        return {name, *(further for below in uses[name] for further in reached(below))}

    return [
        (name, below)
        for name in RANK
        for below in sorted(uses[name], key=lambda other: (-RANK[other], other))
        if not any(below in reached(other) for other in uses[name] - {below})
    ]


def picture() -> str:
    """Return docs/house.svg."""
    boxes = _boxes()
    bottom = 12 + len(FLOORS) * (_HEIGHT + _BETWEEN)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + _HEIGHT}" font-family="sans-serif">',
        "<title>The floors of pyruntime; arrows are imports, and lead down</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{bottom + _HEIGHT}" fill="#fff"/>',
    ]
    for name, below in _arrows():
        # Straight down, in the middle of the narrower of the two.
        left, _, width = min(boxes[name], boxes[below], key=lambda box: box[2])
        place = f"{left + width / 2:.0f}"
        lines.append(
            f'<path d="M{place} {boxes[name][1] + _HEIGHT}V{boxes[below][1] - 2}" stroke="#666" fill="none" '
            'marker-end="url(#end)"/>'
        )
    shown = {name: text for floor in FLOORS for name, text in floor["short"].items()}
    for name, (left, top, width) in boxes.items():
        lines += [
            f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_HEIGHT}" rx="4" fill="#eef3f8" '
            'stroke="#456"/>',
            f'<text x="{left + width / 2:.0f}" y="{top + 23}" text-anchor="middle" font-size="16">{name}/</text>',
            f'<text x="{left + width / 2:.0f}" y="{top + 42}" text-anchor="middle" font-size="12" fill="#555">'
            f"{shown[name]}</text>",
        ]
    lines += [
        f'<rect x="{_LEFT}" y="{bottom}" width="{_WIDTH - 2 * _LEFT}" height="{_HEIGHT - 12}" rx="4" fill="#f3eee6" '
        'stroke="#654"/>',
        f'<text x="{_WIDTH / 2:.0f}" y="{bottom + 26}" text-anchor="middle" font-size="14">csrc/: the stub and the '
        "launcher, in C</text>",
        "</svg>",
        "",
    ]
    return "\n".join(lines)


_BEGIN, _END = "<!-- from generate/floors.json -->\n", "<!-- end -->\n"


def design_page() -> str:
    """Return docs/design.md with its part about the floors as floors.json has it."""
    lines = []
    for floor in FLOORS:
        rooms = ", ".join(f"`{name}/`" for name in floor["rooms"])
        lines += [f"- **{rooms}**: {floor['text']}"]
    lines += [
        "",
        "Imports lead down this list or stay in their room. None goes round in a circle. There is no exception.",
    ]
    head, rest = (PROJECT / "docs/design.md").read_text().split(_BEGIN)
    return head + _BEGIN + "\n".join([*lines, ""]) + _END + rest.split(_END)[1]


PAGES = {PROJECT / "docs/house.svg": picture, PROJECT / "docs/design.md": design_page}
