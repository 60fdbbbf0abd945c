"""Writes conformance.md, and what `pyruntime explain` knows of code and tests. generate/pages.py runs it, too.

The catalogue (pyruntime/spec/clauses) says what there is to be upheld. Who upholds a clause names it: a function in its
docstring or a comment in it, a test in its mark. Here both are found and put beside each other; a test fails when the
page is stale, and when a clause that binds us has no test and no exception.

`generate/conformance.py --count DIRECTORY` reads the specification's Markdown there and compares its keywords with
keywords.json, against which the catalogue is checked.
"""

import ast
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyruntime.spec.clauses import FILES, address, sentences

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
DOCS = PROJECT / "docs"
DATA = PROJECT / "pyruntime/spec/clauses"
SCHEMA = "spec-fixtures/schema/config.json"

CLAUSE = re.compile(r"\b[a-z-]+\.md#[a-z0-9-]+/[a-z0-9-]+\b")
QUOTED = re.compile(rf'"({CLAUSE.pattern})"')
# Folders of tests that a mark counts in: those that run everywhere, and those that run in a virtual machine.
TESTS = ("unit", "conformance", "integration", "hostile")
MACHINE = "vm/inside"


def read_catalogue() -> "dict[str, Any]":
    """Return the catalogue as the sources have it, which need not be built."""
    found: dict[str, Any] = {}
    for name in FILES:
        found |= json.loads((DATA / f"{name}.json").read_text())
    return found


# ---- The specification's keywords ----


def keywords(folder: Path) -> "dict[str, list[str]]":
    """Return section -> its keywords of RFC 2119, from the Markdown in `folder`."""
    return {section: [word for word, _ in words] for section, words in sentences.keywords(str(folder)).items()}


def uncovered(catalogue: "dict[str, Any]", sections: "dict[str, list[str]]") -> "list[str]":
    """Return what is wrong with the catalogue's coverage: each keyword of each section belongs to one clause."""
    counts: dict[tuple[str, int], list[str]] = {
        (section, number): [] for section, words in sections.items() for number in range(1, len(words) + 1)
    }
    wrong = []
    for name, clause in catalogue.items():
        said = []
        for section, numbers in clause["covers"].items():
            for number in numbers:
                if (section, number) not in counts:
                    wrong.append(f"{name} covers keyword {number} of {section}, which is not there")
                    continue
                counts[section, number].append(name)
                said.append(sections[section][number - 1])
        if clause["strength"] != ", ".join(dict.fromkeys(said)):
            wrong.append(f"{name} is {clause['strength']}, and its keywords are {', '.join(dict.fromkeys(said))}")
    for (section, number), names in counts.items():
        if len(names) != 1:
            what = sections[section][number - 1]
            wrong.append(f"keyword {number} of {section}, {what}, belongs to {', '.join(names) or 'no clause'}")
    return wrong


# ---- Who names a clause ----


def _claims(text: str) -> "Iterator[tuple[int, str]]":
    """Yield (line, clause) for each clause that a source says it upholds, or that a step or an error of it carries.

    "Upholds" begins a list of clauses, which a full stop at the end of a line ends; elsewhere they are talked of.
    """
    claiming = False
    for number, line in enumerate(text.splitlines(), 1):
        claiming = claiming or "Upholds " in line
        yield from ((number, clause) for clause in (CLAUSE if claiming else QUOTED).findall(line))
        claiming = claiming and not line.removesuffix("*/").rstrip().endswith(".")


def _python(path: Path) -> "Iterator[tuple[str, str]]":
    """Yield (clause, function) for each clause that a module claims."""
    text = path.read_text()
    places = [
        (node.lineno, node.end_lineno or node.lineno, node.name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for number, clause in _claims(text):
        # The innermost function is the one that begins last.
        around = [(first, name) for first, last, name in places if first <= number <= last]
        yield clause, max(around)[1] if around else ""


def _c(path: Path) -> "Iterator[tuple[str, str]]":
    """Yield (clause, function) for each clause that the comment before a function claims."""
    text = path.read_text()
    lines = text.splitlines()
    for number, clause in _claims(text):
        functions = (re.match(r"[a-z].*?(\w+)\(", line) for line in lines[number:])
        yield clause, next((function[1] for function in functions if function), "")


def code(catalogue: "dict[str, Any]") -> "dict[str, list[str]]":
    """Return clause -> the functions that name it, and the tables and schema that the catalogue names."""
    found: dict[str, list[str]] = {name: list(clause.get("code", ())) for name, clause in catalogue.items()}
    files = [
        *sorted((PROJECT / "pyruntime").rglob("*.py")),
        PROJECT / "generate/checks.py",
        *sorted((PROJECT / "csrc").rglob("*.c")),
    ]
    for path in files:
        if DATA in path.parents:
            continue
        for clause, function in (_c if path.suffix == ".c" else _python)(path):
            place = f"{path.relative_to(PROJECT)}{'::' if function else ''}{function}"
            if place not in found.setdefault(clause, []):
                found[clause].append(place)
    for name, clause in catalogue.items():
        if clause.get("schema"):
            found[name].insert(0, SCHEMA)
    return found


COLLECT = """
import json, os, sys
import pytest

class Marks:
    def pytest_collection_finish(self, session):
        for item in session.items:
            for mark in item.iter_markers("clause"):
                for name in mark.args:
                    place = item.nodeid.partition("[")[0].removeprefix("tests/")
                    found.setdefault(name, {}).setdefault(place, None)

found = {}
status = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *sys.argv[2:]], plugins=[Marks()])
with open(sys.argv[1], "w") as file:
    json.dump({name: list(places) for name, places in found.items()}, file)
os._exit(status)
"""


def tests(work: Path) -> "dict[str, list[str]]":
    """Return clause or section -> the tests that carry it as a mark, found by pytest itself.

    work  a directory to write the answer into
    """
    # A file, because the directory of a script is what comes first on Python's path: the sources, not built, must not.
    script, answer = work / "collect.py", work / "marks.json"
    script.write_text(COLLECT)
    folders = [f"tests/{folder}" for folder in TESTS]
    command = [sys.executable, str(script), str(answer), *folders]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the tests cannot be collected:\n{done.stdout}{done.stderr}")
    return dict(json.loads(answer.read_text()))


def machine_tests() -> "dict[str, list[str]]":
    """Return clause or section -> the tests of the virtual machines that carry it as a mark.

    Only there can they be imported, so their sources are read: the mark is a decorator, or stands in one.
    """
    found: dict[str, list[str]] = {}
    for path in sorted((PROJECT / "tests" / MACHINE).glob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = [node for one in function.decorator_list for node in ast.walk(one) if isinstance(node, ast.Call)]
            marks = [one for one in calls if isinstance(one.func, ast.Attribute) and one.func.attr == "clause"]
            for name in dict.fromkeys(ast.literal_eval(argument) for mark in marks for argument in mark.args):
                found.setdefault(name, []).append(f"{MACHINE}/{path.name}::{function.name}")
    return found


def evidence(work: Path) -> "dict[str, dict[str, list[str]]]":
    """Return clause -> the code and the tests that name it."""
    catalogue = read_catalogue()
    functions, marks, machine = code(catalogue), tests(work), machine_tests()
    unknown = [name for name in functions if name not in catalogue]
    if unknown:
        raise SystemExit(f"no clauses: {', '.join(f'{name} ({functions[name][0]})' for name in unknown)}")
    return {
        name: {"code": functions[name], "tests": [*marks.get(name, ()), *machine.get(name, ())]} for name in catalogue
    }


# ---- The page ----


def status(clause: "dict[str, Any]", found: "dict[str, list[str]]") -> str:
    """Return what the page says of a clause: tested, an exception, none of ours, or what is missing."""
    if clause["binds"] in ("platform", "specification"):
        return f"binds the {clause['binds']}"
    if clause.get("exception"):
        return f"exception: {clause['exception']}"
    missing = [kind for kind in ("code", "tests") if not found[kind]]
    return f"MISSING: {' and '.join(missing)}" if missing else "tested"


def page(found: "dict[str, dict[str, list[str]]]") -> str:
    """Return docs/conformance.md."""
    catalogue = read_catalogue()
    record = json.loads((HERE / "keywords.json").read_text())
    words = [keyword.partition(" ")[0] for section in record["sections"].values() for keyword in section]
    counts = ", ".join(f"{word} {words.count(word)}" for word in dict.fromkeys(words))
    lines = [
        "# Clause by clause",
        "",
        "Written by `generate/conformance.py`, from the catalogue [pyruntime/spec/clauses](../pyruntime/spec/clauses)",
        "and from the functions and the tests that name its clauses.",
        "",
        f"In the {len(FILES)} files that concern Linux, runtime-spec {record['version']} says",
        f"{counts}. A clause is each of these, or several that say the same: there are {len(catalogue)}.",
        "`pyruntime explain CLAUSE` prints one with its properties. Where runc and crun read a clause in another way,",
        "[deviations.md](deviations.md) says so.",
        "",
        "A test is named where it fails when the clause is broken; those with (VM) run in the virtual machines of",
        "`make vm`, the others everywhere. What binds the author of a configuration is tested as well, because of",
        "config.md#valid-values/invalid-is-error.",
        "",
        "| binds | clauses | tested | exceptions |",
        "|---|---|---|---|",
    ]
    bound: dict[str, list[str]] = {}
    for name, clause in catalogue.items():
        bound.setdefault(clause["binds"], []).append(status(clause, found[name]))
    for who, statuses in bound.items():
        excepted = sum(one.startswith("exception") for one in statuses)
        lines.append(f"| {who} | {len(statuses)} | {statuses.count('tested')} | {excepted or ''} |")
    section = ""
    for name, clause in catalogue.items():
        place = name.partition("/")[0]
        if place != section:
            section = place
            lines += ["", f"## [{section}]({address(section)})", "", "| clause | code | tests | status |"]
            lines.append("|---|---|---|---|")
        cells = [
            f"**{name.partition('/')[2]}** {clause['strength']}: {clause['says']}",
            ", ".join(_link(one, "..") for one in found[name]["code"]),
            ", ".join(_link(one, "../tests") for one in found[name]["tests"]),
            status(clause, found[name]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _link(place: str, folder: str) -> str:
    file, _, function = place.partition("::")
    return f"[{function or Path(file).name}]({folder}/{file}){' (VM)' if file.startswith(MACHINE) else ''}"


# ---- What `explain` says of a property ----


def properties() -> "dict[str, dict[str, Any]]":
    """Return property -> its type, default, section, modules and tests, from what generate/pages.py finds."""
    generator = runpy.run_path(str(HERE / "pages.py"))
    data = json.loads((HERE / "properties.json").read_text())
    defaults = json.loads((HERE / "defaults.json").read_text())
    schema = json.loads((PROJECT / SCHEMA).read_text())
    modules = generator["_modules"](generator["_bases"]())
    found = {}
    for template, clause in generator["properties"]().items():
        named = generator["_inherited"](template, data["modules"])
        found[template] = {
            "type": _type(template, schema),
            "default": defaults.get(template) or _default(template, schema),
            "clause": clause,
            "modules": named or generator["_best"](generator["_inherited"](template, modules) or []),
            "tests": generator["_inherited"](template, data["tests"]),
        }
    return found


def _default(template: str, schema: "dict[str, Any]") -> str:
    """Return what the default of a property is by its place: none where it is required."""
    *way, last = template.split("/")[1:]
    holder = _node(way, schema)
    if holder and last in holder.get("required", ()):
        return "none: it is required"
    return "as in a new cgroup" if template.startswith("/linux/resources/") else ""


_PLURALS = {"object": "objects", "string": "strings", "integer": "integers", "boolean": "booleans", "array": "arrays"}


def _type(template: str, schema: "dict[str, Any]") -> str:
    """Return the type of a property in words."""
    node = _node(template.split("/")[1:], schema)
    if node is None:
        return ""
    kind = str(node.get("type", ""))
    items, values = node.get("items", {}), node.get("additionalProperties")
    if kind == "array":
        kind = f"array of {_PLURALS.get(_resolved(items, schema).get('type', ''), 'values')}"
    elif kind == "object" and isinstance(values, dict):
        kind = f"map of {_PLURALS.get(_resolved(values, schema).get('type', ''), 'values')}"
    elif "enum" in node:
        kind = f"string, one of {', '.join(node['enum'])}"
    elif node.get("title"):
        kind = f"{kind}, {node['title']}"
    return kind


def _node(way: "list[str]", schema: "dict[str, Any]") -> "dict[str, Any] | None":
    """Return the schema of what the names of `way` lead to, None where it says nothing of that."""
    node = _resolved(schema, schema)
    for part in way:
        child = node.get("properties", {}).get(part) or node.get("items") or node.get("additionalProperties")
        if not isinstance(child, dict):
            return None
        node = _resolved(child, schema)
    return node


def _resolved(node: "dict[str, Any]", schema: "dict[str, Any]") -> "dict[str, Any]":
    while "$ref" in node:
        target = schema["definitions"][node["$ref"].rpartition("/")[2]]
        node = {**target, **{name: value for name, value in node.items() if name != "$ref"}}
    return node


# ---- All of it ----


def _json(table: "dict[str, Any]") -> str:
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in table.items()) + "\n}\n"


def generated(work: Path) -> "dict[Path, str]":
    """Return each file that is written here with what belongs into it; `work` is a directory for what passes."""
    found = evidence(work)
    return {
        DOCS / "conformance.md": page(found),
        DATA / "evidence.json": _json(found),
        DATA / "properties.json": _json(properties()),
    }


def main(words: "list[str]") -> None:
    """Write the files, or count the keywords of a specification."""
    if words[:1] == ["--count"]:
        recorded = json.loads((HERE / "keywords.json").read_text())["sections"]
        counted = keywords(Path(words[1]))
        different = [name for name in {**recorded, **counted} if recorded.get(name) != counted.get(name)]
        if different:
            raise SystemExit("not as in keywords.json: " + ", ".join(different))
        print(f"{sum(map(len, counted.values()))} keywords in {len(counted)} sections, as in keywords.json")
        return
    import tempfile

    with tempfile.TemporaryDirectory() as work:
        for path, text in generated(Path(work)).items():
            path.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
