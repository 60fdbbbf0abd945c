"""Finds the line and column of each JSON pointer in the text of a document."""

import json
import re

from pyruntime.base import json_pointer as pointer

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)

Place = tuple[int, int]


def places(text: str) -> "dict[str, Place]":
    """Return pointer -> (line, column), both from 1, of each element of the JSON document `text`.

    A member of an object is placed at its name. The columns count characters.
    """
    found: dict[str, Place] = {}
    lines = _Lines(text)
    # One entry for each open object or array: the pointer, and the index of the next element (None in an object).
    frames: list[tuple[str, list[int | None]]] = []
    at, named = "", False
    for match in _TOKEN.finditer(text):
        token, offset = match.group(), match.start()
        if token in ("]", "}"):
            frames.pop()
            continue
        if token == ",":
            continue
        if token == ":":
            named = True
            continue
        if frames and frames[-1][1][0] is None and not named:
            at = pointer.join(frames[-1][0], _unquoted(token))
            found[at] = lines.place(offset)
            continue
        if frames and frames[-1][1][0] is not None:
            at = pointer.join(frames[-1][0], frames[-1][1][0])
            frames[-1][1][0] += 1
        named = False
        found.setdefault(at, lines.place(offset))
        if token in ("{", "["):
            frames.append((at, [None if token == "{" else 0]))
    return found


def nearest(found: "dict[str, Place]", at: str) -> "Place":
    """Return the place of `at`, or of the innermost element around it that is there; (1, 1) without any."""
    while at and at not in found:
        at = at.rpartition("/")[0]
    return found.get(at, (1, 1))


class _Lines:
    """Line and column of offsets that only grow."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line, self._start, self._seen = 1, 0, 0

    def place(self, offset: int) -> "Place":
        newlines = self._text.count("\n", self._seen, offset)
        if newlines:
            self._line += newlines
            self._start = self._text.rfind("\n", self._seen, offset) + 1
        self._seen = offset
        return self._line, offset - self._start + 1


def _unquoted(token: str) -> str:
    return str(json.loads(token))
