"""The house: which module of the package imports which, and which C file calls which; their floors, and pictures.

floors.json has the floors from top to bottom. An import may lead to a lower floor, or to another module of the same
room; rooms that share a floor do not know each other. tests/unit/test_house.py holds the package to that. What is
counted is every import in the sources, also those inside of functions and for type checkers, and each full name, as
pyruntime.cgroup.systemd.start(), which imports its module when it is first used (pyruntime/__init__.py).
"""

import ast
import json
import re
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
            elif full := _full_name(node):
                targets = [full]
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
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            now = "late"
        elif isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            now = "types"
        yield child, now
        if not _full_name(child):  # in which there is nothing but its beginning
            yield from _walk(child, now)


def _full_name(node: ast.AST) -> str:
    """Return the name that begins with the package itself, as pyruntime.cgroup.systemd.start; "" for another node."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not parts or not isinstance(node, ast.Name) or node.id != "pyruntime":
        return ""
    return ".".join([node.id, *reversed(parts)])


def full_names() -> "Iterator[tuple[str, str]]":
    """Yield (module, full name in it)."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if full := _full_name(node):
                yield name, full


def by_full_name() -> "list[str]":
    """Return the modules that are called by their full name, as "pyruntime.cgroup.systemd"."""
    known, found = modules(), set()
    for _, full in full_names():
        place = full.partition(".")[2]
        while place not in known:
            place = place.rpartition(".")[0]
        if known[place].stem != "__init__":
            found.add(f"pyruntime.{place}")
    return sorted(found)


def late_imports() -> "Iterator[tuple[str, str]]":
    """Yield (FILE:LINE, its last comment) for the import statements inside of functions."""
    for path in modules().values():
        lines = path.read_text().splitlines()
        for node, when in _walk(ast.parse("\n".join(lines)), "start"):
            if when == "late" and isinstance(node, ast.Import | ast.ImportFrom):
                yield (
                    f"{path.relative_to(PROJECT)}:{node.lineno}",
                    lines[(node.end_lineno or 1) - 1].rpartition("# ")[2],
                )


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


# ---- The C sources ----

CSRC = PROJECT / "csrc"
C_FLOORS: "list[dict[str, list[str]]]" = DATA["csrc"]
C_ROOM = {name: room for floor in C_FLOORS for room, names in floor.items() for name in names}
C_RANK = {room: number for number, floor in enumerate(reversed(C_FLOORS)) for room in floor}
_DEFINITION = re.compile(r"^(static )?(?!#|typedef|enum|union|extern)[A-Za-z_][^;={}\n]*?\b(\w+)\(", re.MULTILINE)


def calls() -> "Iterator[tuple[str, str]]":
    """Yield (file, file of which it calls a function) for the C sources, as "stub/spawn"."""
    sources = {
        f"{path.parent.name}/{path.stem}": re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        for path in sorted(CSRC.rglob("*.c"))
    }
    own = {name: {found[1] for found in _DEFINITION.findall(text)} for name, text in sources.items()}
    offered = {found[1]: name for name, text in sources.items() for found in _DEFINITION.findall(text) if not found[0]}
    for name, text in sources.items():
        called = {*re.findall(r"\b(\w+)\b(?=\()", text), *re.findall(r"\bdo_\w+", text)}
        yield from (
            (name, target) for target in sorted({offered[word] for word in called - own[name] if word in offered})
        )


def wrong_calls() -> "list[str]":
    """Return the calls that lead up, or into another room of the same floor."""
    return [
        f"{name} calls {target}"
        for name, target in calls()
        if C_ROOM[name] != C_ROOM[target] and C_RANK[C_ROOM[target]] >= C_RANK[C_ROOM[name]]
    ]


# ---- The pictures ----

_WIDTH, _LEFT, _GAP, _TOP = 880, 16, 20, 12
_HEIGHT, _BETWEEN = 54, 26


def _boxes(floors: "list[list[str]]") -> "dict[str, tuple[float, float, float]]":
    """Return room -> its left edge, top and width."""
    boxes = {}
    for number, rooms in enumerate(floors):
        width = (_WIDTH - 2 * _LEFT - _GAP * (len(rooms) - 1)) / len(rooms)
        for place, name in enumerate(rooms):
            boxes[name] = (_LEFT + place * (width + _GAP), _TOP + number * (_HEIGHT + _BETWEEN), width)
    return boxes


def _arrows(rooms: "list[str]", uses: "set[tuple[str, str]]") -> "list[tuple[str, str]]":
    """Return which room uses which, without those that follow from others: what is two floors down by way of one."""
    below: dict[str, list[str]] = {name: [other for other in rooms if (name, other) in uses] for name in rooms}

    def reached(name: str) -> "set[str]":
        return {name, *(further for other in below[name] for further in reached(other))}

    return [
        (name, other)
        for name in rooms
        for other in below[name]
        if not any(other in reached(third) for third in below[name] if third != other)
    ]


def _draw(title: str, floors: "list[dict[str, str]]", uses: "set[tuple[str, str]]", ground: "tuple[str, ...]") -> str:
    """Return a picture: floors of rooms (name -> what it says below the name), arrows, and a box below for `ground`."""
    boxes = _boxes([[*floor] for floor in floors])
    bottom = _TOP + len(floors) * (_HEIGHT + _BETWEEN)
    height = bottom + (_HEIGHT if ground else 0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f"<title>{title}</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for name, below in _arrows([*boxes], {(one, other) for one, other in uses if one != other}):
        # Straight down, in the middle of what lies above each other.
        left = max(boxes[name][0], boxes[below][0])
        right = min(boxes[name][0] + boxes[name][2], boxes[below][0] + boxes[below][2])
        lines.append(
            f'<path d="M{(left + right) / 2:.0f} {boxes[name][1] + _HEIGHT}V{boxes[below][1] - 2}" stroke="#666" '
            'fill="none" marker-end="url(#end)"/>'
        )
    shown = {name: text for floor in floors for name, text in floor.items()}
    for name, (left, top, width) in boxes.items():
        lines += [
            f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_HEIGHT}" rx="4" fill="#eef3f8" '
            'stroke="#456"/>',
            f'<text x="{left + width / 2:.0f}" y="{top + 23}" text-anchor="middle" font-size="16">{name}</text>',
            f'<text x="{left + width / 2:.0f}" y="{top + 42}" text-anchor="middle" font-size="12" fill="#555">'
            f"{shown[name]}</text>",
        ]
    for text in ground:
        lines += [
            f'<rect x="{_LEFT}" y="{bottom}" width="{_WIDTH - 2 * _LEFT}" height="{_HEIGHT - 12}" rx="4" '
            'fill="#f3eee6" stroke="#654"/>',
            f'<text x="{_WIDTH / 2:.0f}" y="{bottom + 26}" text-anchor="middle" font-size="14">{text}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def picture() -> str:
    """Return docs/house.svg."""
    floors = [{f"{name}/": floor["short"][name] for name in floor["rooms"]} for floor in FLOORS]
    uses = {(f"{room(name)}/", f"{room(target)}/") for name, target in imports()}
    title = "The floors of pyruntime; arrows are imports, and lead down"
    return _draw(title, floors, uses, ("csrc/: the stub and the launcher, in C",))


def c_picture() -> str:
    """Return docs/csrc.svg."""
    floors = [
        {name: ", ".join(file.partition("/")[2] for file in files) for name, files in floor.items()}
        for floor in C_FLOORS
    ]
    uses = {(C_ROOM[name], C_ROOM[target]) for name, target in calls()}
    return _draw("The floors of csrc/; arrows are calls, and lead down", floors, uses, ())


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


PAGES = {
    PROJECT / "docs/house.svg": picture,
    PROJECT / "docs/csrc.svg": c_picture,
    PROJECT / "docs/design.md": design_page,
}
