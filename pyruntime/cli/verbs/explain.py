"""`explain`: what a clause of the runtime-spec requires or a property of config.json means, and what pyruntime does.

Any other word is searched for in all clauses and properties.
"""

from difflib import get_close_matches
from textwrap import wrap

import pyruntime
from pyruntime import SPEC_VERSION
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cli.output import write
from pyruntime.spec import clauses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.cli.parse import CommandLine
    from pyruntime.spec.clauses import Clause

_WIDTH = 100
_BOUND = {
    "runtime": "binds the runtime",
    "author": "binds the author of config.json",
    "caller": "binds the caller of the runtime",
    "consumer": "binds whoever reads what the runtime writes",
    "platform": "binds runtimes of other platforms",
    "specification": "binds the specification itself",
}
# Of clauses that are about one word each there are many, so they are listed by the word.
_WORD = "/option-"
# How many of a kind are shown of what a word was found in.
_MOST = 12
# An element of a list, or the value of a key that anybody may choose.
_ELEMENT = "element"


def main(line: "CommandLine") -> int:
    """Print what is known of a clause, of a section with its clauses, of a property, or where a word belongs.

    Raises Error for what is none of these, with the nearest that is.
    """
    word = " ".join(line.arguments)
    folder = line.options["spec"] or os.environ.get("PYRUNTIME_SPEC", "")
    if word.startswith("/"):
        write(explain_pointer(word))
    elif ".md#" in word:
        write(explain_clause(word, folder))
    else:
        write(explain_word(word))
    return 0


# ---- A clause, or a section ----


def explain_clause(name: str, folder: str = "") -> str:
    """Return the explanation of the clause or section `name`; with `folder`, a clone of the spec, its own sentences.

    Raises Error where there is no such clause or section, and where `folder` is no specification of our version.
    """
    catalogue, evidence = clauses.catalogue(), clauses.evidence()
    if name in catalogue:
        return _clause(name, catalogue[name], evidence.get(name, {}), folder)
    section = [known for known in catalogue if known.startswith((f"{name}/", f"{name}#"))]
    if not section:
        sections = {known.partition("/")[0] for known in catalogue}
        if name in {properties["clause"] for properties in clauses.properties().values()} - sections:
            return _section(name, [], catalogue, folder)
        raise _unknown("clause", name, [*catalogue, *sorted(sections)])
    return _section(name, section, catalogue, folder)


def _section(name: str, members: "list[str]", catalogue: "dict[str, Clause]", folder: str) -> str:
    lines = [name]
    for member in members:
        clause = catalogue[member]
        bound = "" if clause["binds"] in ("runtime", "author") else f" ({_BOUND[clause['binds']]})"
        lines += ["", f"  {member}", *_indented(f"{clause['strength']}: {clause['says']}{bound}", 4)]
        lines += _quoted(clause, folder, 4)
    if not members:
        lines += ["", "  The section has no MUST, SHOULD or REQUIRED."]
    about = [pointer for pointer, known in clauses.properties().items() if known["clause"] == name]
    return "\n".join([*lines, "", *_rows([("properties", about), ("text", [clauses.address(name)])])]) + "\n"


def _clause(name: str, clause: "Clause", evidence: "dict[str, list[str]]", folder: str) -> str:
    does = clause.get("does") or ("Refuses a configuration that breaks it." if clause["binds"] == "author" else "")
    exception = clause.get("exception")
    twins = [section for section in clause["covers"] if section != name.partition("/")[0]]
    rows = [
        ("pyruntime", [] if exception or clause["binds"] == "platform" else [does]),
        ("no test", [exception] if exception else []),
        ("properties", clause.get("pointers", [])),
        ("code", evidence.get("code", [])),
        ("tests", [f"tests/{test}" for test in evidence.get("tests", [])]),
        ("said also in", twins),
        ("text", [clauses.address(name.partition("/")[0])]),
    ]
    bound = _BOUND[clause["binds"]]
    if clause["binds"] == "author" and not exception:
        bound += "; the runtime refuses what breaks it"
    lines = [name, f"  {clause['strength']}: {bound}", "", *_indented(clause["says"], 2), ""]
    if folder:
        lines += [*_quoted(clause, folder, 2), ""]
    return "\n".join([*lines, *_rows(rows)]) + "\n"


def _quoted(clause: "Clause", folder: str, by: int) -> "list[str]":
    """Return the specification's own sentences, marked as quoted; nothing without a folder."""
    if not folder:
        return []
    return [
        line
        for said in pyruntime.spec.clauses.sentences.quote(folder, clause["covers"])
        for line in _indented(said, by, "> ")
    ]


# ---- A word ----


def explain_word(word: str) -> str:
    """Return the properties, sections and clauses that a word is found in. Raises Error where there are none."""
    lines, found = [word], pyruntime.spec.clauses.search.search(word)
    capability = word.upper() if word.upper() in pyruntime.plan.capabilities.NUMBERS else f"CAP_{word.upper()}"
    if capability in pyruntime.plan.capabilities.NUMBERS:
        lines = [
            capability,
            f"  capability {pyruntime.plan.capabilities.NUMBERS[capability]} of Linux, described in capabilities(7)",
        ]
        found = pyruntime.spec.clauses.search.search("capabilities")
        found.clauses += pyruntime.spec.clauses.search.search("capability").clauses
    if not found:
        raise _unknown("clause", word, [*clauses.catalogue(), *clauses.properties()])
    catalogue = clauses.catalogue()
    rows = _rows([("properties", _first(found.properties)), ("sections", _first(found.sections))])
    lines += ["", *rows] if rows else []
    for name in found.clauses[:_MOST]:
        lines += ["", f"  {name}", *_indented(f"{catalogue[name]['strength']}: {catalogue[name]['says']}", 4)]
    more = len(found.clauses) - _MOST
    lines += ["", f"  and {more} more clauses"] if more > 0 else []
    return "\n".join([*lines, "", "  Each of these names can be explained: pyruntime explain NAME"]) + "\n"


def _first(names: "list[str]") -> "list[str]":
    more = len(names) - _MOST
    return [*names[:_MOST], *([f"and {more} more"] if more > 0 else [])]


# ---- A property ----


def explain_pointer(pointer: str) -> str:
    """Return the explanation of the property of config.json at `pointer`. Raises Error where there is none."""
    table = clauses.properties()
    template, kind = _template(pointer, table)
    known = table[template]
    catalogue = clauses.catalogue()
    lines = [pointer, *([f"  an {_ELEMENT} of {template}"] if kind == _ELEMENT else [])]
    about, of = _nearest(template, catalogue), template
    while not about and of:
        of = of.rpartition("/")[0]
        about = _nearest(of, catalogue)
    if about and of != template:
        lines += ["", f"  No clause of its own. Those of {of}:"]
    words = [name.partition(_WORD)[2] for name in about if _WORD in name]
    for name in about:
        if _WORD not in name:
            lines += ["", f"  {name}", *_indented(f"{catalogue[name]['strength']}: {catalogue[name]['says']}", 4)]
    if words:
        section = next(name for name in about if _WORD in name).partition("/")[0]
        lines += ["", f"  {section}{_WORD}...", *_indented(", ".join(words), 4)]
    rows = [
        ("type", [_singular(known["type"]) if kind == _ELEMENT else known["type"]]),
        ("holds", [", ".join(_members(template, table))]),
        ("default", [known["default"] if not kind else ""]),
        ("section", [known["clause"]]),
        ("code", [f"pyruntime/{module}" for module in known["modules"]]),
        ("tests", [f"tests/{test}" for test in known["tests"]]),
        ("text", [clauses.address(known["clause"])]),
    ]
    return "\n".join([*lines, "", *_rows(rows)]) + "\n"


def _nearest(template: str, catalogue: "dict[str, Clause]") -> "list[str]":
    """Return the clauses that are about a property and bind somebody who deals with this runtime."""
    return [
        name
        for name, clause in catalogue.items()
        if clause["binds"] not in ("platform", "specification")
        and any(_matches(one, template) for one in clause.get("pointers", ()))
    ]


def _members(template: str, table: "dict[str, Any]") -> "list[str]":
    """Return the names of the properties of an object, or of each object in a list or map."""
    inside = (f"{template}/", f"{template}/*/")
    return [
        one.rpartition("/")[2]
        for one in table
        if any(one.startswith(start) and "/" not in one[len(start) :] for start in inside)
    ]


def _singular(kind: str) -> str:
    """Return the type of an element of a list or map, from that of the whole: "array of strings"."""
    return kind.rpartition(" of ")[2].removesuffix("s")


def _template(pointer: str, table: "dict[str, Any]") -> "tuple[str, str]":
    """Return the property that `pointer` is a case of, and _ELEMENT where it is an element of it.

    Raises Error where there is no such property.
    """
    place = pointer.rstrip("/")
    found = [template for template in table if _matches(template, place)]
    if found:
        # With "*" any name goes, but the property of that very name goes before.
        return min(found, key=lambda template: template.count("*")), ""
    around = [template for template in table if _matches(template, place.rpartition("/")[0])]
    if around and table[around[0]]["type"].startswith(("array", "map")):
        return around[0], _ELEMENT
    raise _unknown("property", pointer, list(table))


def _matches(template: str, pointer: str) -> bool:
    """Tell whether `pointer` is a case of `template`: "*" is any index or name."""
    names, parts = template.split("/"), pointer.split("/")
    return len(names) == len(parts) and all(name in ("*", part) for name, part in zip(names, parts, strict=True))


# ---- Words ----


def _unknown(kind: str, name: str, names: "list[str]") -> Error:
    near = get_close_matches(name, names, 3, 0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else ""
    if kind == "property":
        return Error(f"config.json has no property {name!r}", "", advice=advice)
    return Error(f"there is no clause {name!r} in runtime-spec {SPEC_VERSION}", "", advice=advice)


def _rows(rows: "list[tuple[str, list[str]]]") -> "list[str]":
    """Return lines with the title of each row that has something to say, and its texts beside it."""
    lines: list[str] = []
    for title, texts in rows:
        for index, text in enumerate(text for text in texts if text):
            first, *rest = wrap(text, _WIDTH - 16, break_long_words=False, break_on_hyphens=False)
            lines += [f"  {title if not index else '':<14}{first}", *(f"{'':16}{more}" for more in rest)]
    return lines


def _indented(text: str, by: int, mark: str = "") -> "list[str]":
    margin = " " * by + mark
    return wrap(
        text, _WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False, break_long_words=False
    )
