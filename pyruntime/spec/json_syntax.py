"""Finds out where and why a document is not JSON: line, column and reason. Imported only after a failure."""

import json  # here also for the scanner, which looks for json.decoder in sys.modules
import re

from pyruntime.base import json_pointer as pointer
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLAUSE = "glossary.md#json"

_TOKEN = re.compile(
    r"""[ \t\r\n]+
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<word>[^ \t\r\n"{}\[\]:,]+)
    | (?P<mark>[{}\[\]:,])
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_NO_NUMBER = re.compile(r"(NaN|-?Infinity)|-?[0-9]{400,}")
# What is no escape of a surrogate, or is a pair of them, is passed over; what is left is half a pair.
_SURROGATES = re.compile(
    r"(?:\\[^u]|[^\\])+"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(\\u[dD][89a-fA-F])"
    r"|\\u"
)
# What the scanner of Python says -> what it expects.
_EXPECTED = {
    "Expecting property name enclosed in double quotes": "a name in double quotes",
    "Expecting ':' delimiter": "a colon after the name",
    "Expecting ',' delimiter": "a comma or the closing bracket",
}
_LONGEST_NAME = 100
_SPACE = " \t\r\n"


class UnpairedSurrogate(ValueError):
    """An escape that is half of a character; `pos` is its offset in characters."""

    def __init__(self, pos: int) -> None:
        super().__init__()
        self.pos = pos


def refuse_surrogates(text: str) -> None:
    """Raise UnpairedSurrogate if an escape in the document `text` is half of a character."""
    for match in _SURROGATES.finditer(text):
        if match.group(1):
            raise UnpairedSurrogate(match.start())


def explain(data: bytes, name: str, error: BaseException, scan: "Callable[[str, int], object]", deepest: int) -> Error:
    """Return the Error that says where and why `data` is not a JSON document.

    name     what to call the document
    error    what the scanner, or the decoding, raised
    scan     the scanner
    deepest  on how many levels objects and arrays may stand
    """
    doing = f"{name} is not JSON"
    if isinstance(error, SystemError):
        error = _syntax_error(data.decode(), scan)
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        advice = "it looks like UTF-16: write it as UTF-8" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        reason = f"line {line}, byte offset {error.start}: 0x{byte:02x}"
        return Error(f"{name} is not UTF-8", reason, clause=CLAUSE, advice=advice)
    text = data.decode()
    if not text.strip(_SPACE):
        return Error(doing, "it is empty", clause=CLAUSE)
    if text[0] == "\ufeff":
        return Error(doing, "it starts with a byte order mark, which JSON forbids", clause=CLAUSE)
    if isinstance(error, UnpairedSurrogate):
        reason = f"{_place(text, error.pos)}: {text[error.pos : error.pos + 6]} is half of a character"
        return Error(doing, reason, clause=CLAUSE)
    offset = error.value if isinstance(error, StopIteration) else getattr(error, "pos", None)
    # Some interpreters read on, and find something else.
    deep = _too_deep(text, len(text) if offset is None else offset, deepest)
    if deep is not None:
        return Error(doing, f"{_place(text, deep)}: nested deeper than {deepest} levels", clause=CLAUSE)
    if isinstance(error, RecursionError):
        return Error(doing, "nested deeper than the stack allows", clause=CLAUSE)
    if offset is not None:
        said: str = getattr(error, "msg", "") or f"expected a value, found {_found(text, offset)}"
        if text.startswith(("//", "/*", "#"), offset):
            said = "a comment, which JSON does not have"
        elif text.startswith("'", offset):
            said = "expected a string in double quotes, found a single one"
        elif (comma := _trailing_comma(text, offset, said)) is not None:
            offset, said = comma, "a comma that nothing follows"
        elif said in _EXPECTED:
            said = f"expected {_EXPECTED[said]}, found {_found(text, offset)}"
        return Error(doing, f"{_place(text, offset)}: {said[:1].lower()}{said[1:]}", clause=CLAUSE)
    return _by_tokens(text, doing)


def _syntax_error(text: str, scan: "Callable[[str, int], object]") -> BaseException:
    """Return the exception that the scanner raises when json.decoder is imported."""
    try:
        scan(text, len(text) - len(text.lstrip(_SPACE)))
    except Exception as error:
        return error
    return ValueError()


def _by_tokens(text: str, doing: str) -> Error:
    """Find what the scanner reports without a place: a duplicate name, a word that is no number, a second document."""
    # One frame for each open object or array: the names seen (None for an array), and the current name or index.
    frames: list[tuple[dict[str, int] | None, list[str | int]]] = []
    expects_name = False
    for match in _TOKEN.finditer(text):
        start, token = match.start(), match.group()
        if match.lastgroup == "mark":
            if token in "{[":
                frames.append(({}, [""]) if token == "{" else (None, [0]))
            elif token in "}]" and frames:
                frames.pop()
                if not frames and text[match.end() :].strip(_SPACE):
                    offset = match.end() + len(text[match.end() :]) - len(text[match.end() :].lstrip(_SPACE))
                    reason = f"{_place(text, offset)}: the document has ended, found {_found(text, offset)}"
                    return Error(doing, reason, clause=CLAUSE)
            elif token == "," and frames and frames[-1][0] is None:
                frames[-1][1][0] = int(frames[-1][1][0]) + 1
            expects_name = token in "{," and bool(frames) and frames[-1][0] is not None
        elif match.lastgroup == "string" and expects_name:
            names = frames[-1][0]
            key = _unquoted(token)
            frames[-1][1][0] = key
            if names is not None and key in names:
                at = pointer.join("", *(place[0] for _, place in frames))
                first = _place(text, names[key])
                reason = f"{_place(text, start)}: the name {_shown(key)} is there already, at {first}"
                return Error(doing, reason, pointer=at, clause=CLAUSE)
            if names is not None:
                names[key] = start
        elif match.lastgroup == "word":
            # The scanner stops at the end of the word, even if text follows without a space.
            number = _NO_NUMBER.match(token)
            if number and number.group(1):
                return Error(doing, f"{_place(text, start)}: {number.group()} is not a JSON number", clause=CLAUSE)
            if number:
                return Error(doing, f"{_place(text, start)}: an integer of {len(number.group())} digits", clause=CLAUSE)
            if not frames and text[match.end() :].strip(_SPACE):
                break
    return Error(doing, "more than one value", clause=CLAUSE)


def _trailing_comma(text: str, offset: int, said: str) -> "int | None":
    """Return the offset of a comma that a bracket follows, or None where that is not what is wrong.

    offset  where the scanner stopped: from Python 3.13 on, which says so, at the comma, before that at the bracket
    """
    if said.startswith("Illegal trailing comma"):
        return offset
    before = text[:offset].rstrip(_SPACE)
    return len(before) - 1 if before.endswith(",") and text[offset : offset + 1] in ("}", "]") else None


def _unquoted(token: str) -> str:
    return str(json.loads(token))


def _shown(key: str) -> str:
    return json.dumps(key if len(key) <= _LONGEST_NAME else key[:_LONGEST_NAME] + "…", ensure_ascii=False)


def _too_deep(text: str, end: int, deepest: int) -> "int | None":
    """Return the offset of the first bracket before `end` that opens one level too many, None where there is none."""
    if text.count("{", 0, end) + text.count("[", 0, end) <= deepest:
        return None
    depth = 0
    for match in _TOKEN.finditer(text):
        if match.start() >= end:
            break
        if match.lastgroup == "mark":
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match.group(), 0)
            if depth > deepest:
                return match.start()
    return None


def _place(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - text.rfind(chr(10), 0, offset)}"


def _found(text: str, offset: int) -> str:
    if offset >= len(text):
        return "the end"
    token = next(_TOKEN.finditer(text, offset)).group()
    shown = token if len(token) <= 40 else token[:39] + "…"
    # Control characters would reach the terminal.
    return shown if shown.isprintable() else ascii(shown)
