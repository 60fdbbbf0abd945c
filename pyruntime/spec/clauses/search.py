"""Finds the properties, sections and clauses that have a word in their names or texts."""

import re

from pyruntime.spec import clauses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# A name is found by its parts, too: additionalGids by "gids", CAP_NET_ADMIN by "admin".
_PARTS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


class Found:
    """What a search found, the best first: names of properties (pointers), sections and clauses."""

    def __init__(self, properties: "list[str]", sections: "list[str]", members: "list[str]") -> None:
        self.properties = properties
        self.sections = sections
        self.clauses = members

    def __bool__(self) -> bool:
        return bool(self.properties or self.sections or self.clauses)


def search(query: str) -> Found:
    """Return what has each word of `query` in its name or its text; upper and lower case are one.

    If nothing has all words of a longer text, such as an error's, what has the most of them is returned.
    """
    wanted = [word.lower() for word in re.findall(r"[\w./-]+", query)]
    if not wanted:
        return Found([], [], [])
    catalogue, properties = clauses.catalogue(), clauses.properties()
    names = {known["clause"] for known in properties.values()} | {name.partition("/")[0] for name in catalogue}
    return Found(
        _ranked(wanted, ((name, f"{known['type']} {known['default']}") for name, known in properties.items())),
        _ranked(wanted, ((name, "") for name in sorted(names))),
        _ranked(wanted, ((name, f"{clause['says']} {clause.get('does', '')}") for name, clause in catalogue.items())),
    )


def _ranked(wanted: "list[str]", candidates: "Iterable[tuple[str, str]]") -> "list[str]":
    """Return the names that have all words, or the most of them: words of the name's end count most."""
    found: list[tuple[int, int, int, str]] = []
    for order, (name, text) in enumerate(candidates):
        last = re.split(r"[/#]", name.replace("/*", ""))[-1]
        ranks = [_rank(word, name, last, text) for word in wanted]
        found.append((-sum(map(bool, ranks)), -sum(ranks), order, name))
    fit = min((one[0] for one in found), default=0)
    enough = -len(wanted) if len(wanted) < 3 else -2
    return [name for count, _, _, name in sorted(found) if count == fit <= enough]


def _rank(word: str, name: str, last: str, text: str) -> int:
    """Return how well a word fits, from 0 for not at all."""
    if word in (last.lower(), last.lower().removeprefix("option-")):
        return 5
    if word in _words(last):
        return 4
    if word in _words(name) or word in re.split(r"[/#]", name.lower()):
        return 3
    if word in re.findall(r"[\w-]+", text.lower()):
        return 2
    return 1 if len(word) > 3 and word in f"{name} {text}".lower() else 0


def _words(name: str) -> "set[str]":
    return {part.lower() for part in _PARTS.findall(name)}
