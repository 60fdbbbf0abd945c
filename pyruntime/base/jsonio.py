"""JSON for the runtime's own small documents: state.json and the output of the verbs.

It uses only the interpreter's C accelerator, because importing `json` takes longer than all of `state`.
pyruntime.spec reads the documents of users, and is strict.
"""

from _json import encode_basestring_ascii as _quote
from _json import make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INFINITY = float("inf")
_LITERALS = {True: "true", False: "false", None: "null"}


def _refuse(name: str) -> object:
    """Refuse NaN and the infinities, which the scanner knows and JSON does not."""
    raise ValueError(f"{name} is not JSON")


class _ScannerSettings:
    """The attributes that `_json.make_scanner` reads from its argument."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)


# No check for circles, no function for other types, in ASCII, not indented, names neither sorted nor skipped, and no
# number that JSON lacks.
_encode_line: "Any" = make_encoder(None, None, _quote, None, ": ", ", ", False, False, False)  # type: ignore[arg-type]
_scan: "Any" = make_scanner(_ScannerSettings)  # type: ignore[arg-type]


def loads(text: str) -> object:
    """Return the value of the JSON document `text`.

    Raises ValueError where it is not one document: the message holds the position.
    """
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"no JSON value at character {stop.value}") from None
    except (SystemError, RecursionError):
        # The scanner takes its exception from `json`, and fails to raise one where that is not loaded.
        raise ValueError("not a JSON document") from None
    if text[end:].strip(" \t\r\n"):
        raise ValueError(f"more than one JSON document: character {end}")
    return value


def dumps(value: object, indent: int | str | None = None, *, compact: bool = False) -> str:
    """Return `value` as JSON in ASCII.

    indent   None for one line; a number of spaces or a string to indent each level by, as json.dumps writes it
    compact  on one line, without a space

    Takes dict (with str keys), list, tuple, str, int, float, bool and None. Raises TypeError for anything else,
    ValueError for a float that JSON cannot say. Lone surrogates (bytes of a path that are not UTF-8) survive a
    round trip as \\udcXX.
    """
    if indent is None:
        return _encode(value, "", "", "," if compact else ", ")
    step = " " * indent if isinstance(indent, int) else indent
    return _encode(value, step, "\n", ",\n")


def line(value: object) -> str:
    """Return what `dumps(value)` returns, sooner. All names must be str: this is not checked."""
    return "".join(_encode_line(value, 0))


def _encode(value: object, step: str, newline: str, comma: str) -> str:
    """Encode one value; `newline` and `comma` already carry the indentation of the value's own line."""
    if isinstance(value, str):
        return _quote(value)
    if value is None or value is True or value is False:
        return _LITERALS[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, dict):
        if not value:
            return "{}"
        inner, inner_comma = newline and newline + step, comma + step
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a JSON name must be a string, not {type(key).__name__}")
        colon = ":" if comma == "," else ": "
        members = [f"{_quote(key)}{colon}{_encode(item, step, inner, inner_comma)}" for key, item in value.items()]
        return f"{{{inner}{inner_comma.join(members)}{newline}}}"
    if isinstance(value, (list, tuple)):
        if not value:
            return "[]"
        inner, inner_comma = newline and newline + step, comma + step
        items = [_encode(item, step, inner, inner_comma) for item in value]
        return f"[{inner}{inner_comma.join(items)}{newline}]"
    if isinstance(value, float):
        if not -_INFINITY < value < _INFINITY:
            raise ValueError(f"JSON has no {value}")
        return float.__repr__(value)
    raise TypeError(f"not a JSON value: {type(value).__name__}")
