"""Values in GVariant's text format, as annotations carry them for systemd: "uint64 5", "'text'", "[true, false]"."""

import sys

_INTEGERS = {  # type code -> (lowest, highest)
    "y": (0, 2**8 - 1),
    "n": (-(2**15), 2**15 - 1),
    "q": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}
_KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}
_BASIC = frozenset(_KEYWORDS.values())
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_PATH = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SHOWN = 200  # characters of a text that an error repeats
# As D-Bus itself limits nesting, and the length of a signature.
_DEEPEST = 32
_LONGEST = 255

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Typed = tuple[str, Any]


def parse(text: str) -> "Typed":
    """Return (D-Bus signature, value) of `text`; raises ValueError that says where and what was expected.

    Understands booleans, numbers, strings, arrays, tuples, variants in <>, type keywords and "@signature": what the
    properties of systemd units are made of. Dictionaries and maybe types are not among them. What is returned can be
    sent over D-Bus, which closes the connection of whoever sends what it does not allow.
    """
    reader = _Reader(text)
    typed = reader.any(0)
    if reader.peek():
        raise reader.error("the end")
    return typed


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def error(self, expected: str) -> ValueError:
        return ValueError(f"expected {expected} at character {self.position} of {self.text[:_SHOWN]!r}")

    def peek(self) -> str:
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def take(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self.position += 1
        return True

    def word(self, others: str) -> str:
        """Letters, digits and `others` from here on."""
        self.peek()
        start = self.position
        while (character := self.text[self.position : self.position + 1]) and (
            (character.isascii() and character.isalnum()) or character in others
        ):
            self.position += 1
        return self.text[start : self.position]

    def any(self, depth: int) -> "Typed":
        """One value that carries its signature, of any type."""
        typed = self.value("", depth)
        if len(typed[0]) > _LONGEST:
            raise self.error(f"a type of at most {_LONGEST} characters")
        return typed

    def value(self, wanted: str, depth: int) -> "Typed":
        """One value, of the type `wanted` unless that is empty."""
        if depth > _DEEPEST:
            raise self.error("less nesting")
        first = self.peek()
        if first == "@":
            self.position += 1
            signature = self.word("()")
            if not signature or _end(signature, 0) != len(signature) or (wanted and wanted != signature):
                raise self.error(f"type {wanted or 'signature'}")
            return self.value(signature, depth + 1)
        if first in ("'", '"'):
            return self.string(wanted or "s")
        if first == "[":
            return self.array(wanted, depth)
        if first == "(":
            return self.tuple(wanted, depth)
        if first == "<":
            if wanted not in ("", "v"):
                raise self.error(f"a value of type {wanted}")
            self.position += 1
            inner = self.any(depth + 1)
            if not self.take(">"):
                raise self.error("'>'")
            return "v", inner
        word = self.word("+-.")
        if word in ("true", "false"):
            if wanted not in ("", "b"):
                raise self.error(f"a value of type {wanted}")
            return "b", word == "true"
        if word in _KEYWORDS:
            code = _KEYWORDS[word]
            if wanted not in ("", code):
                raise self.error(f"a value of type {wanted}")
            return self.value(code, depth + 1)
        return self.number(word, wanted)

    def string(self, wanted: str) -> "Typed":
        if wanted not in ("s", "o", "g"):
            raise self.error(f"a value of type {wanted}")
        quote = self.text[self.position]
        self.position += 1
        found = ""
        while (character := self.text[self.position : self.position + 1]) != quote:
            if not character:
                raise self.error(f"the closing {quote}")
            self.position += 1
            if character == "\\":
                character = self.escape()
            found += character
        if not _STRINGS[wanted](found):
            raise self.error({"o": "an object path", "g": "a signature"}.get(wanted, "a string that UTF-8 can write"))
        self.position += 1
        return wanted, found

    def escape(self) -> str:
        letter = self.text[self.position : self.position + 1]
        self.position += 1
        length = {"u": 4, "U": 8}.get(letter, 0)
        if not length:
            return _ESCAPES.get(letter, letter)
        digits = self.text[self.position : self.position + length]
        self.position += length
        if len(digits) == length and _HEXADECIMAL.issuperset(digits):
            code = int(digits, 16)
            if code <= sys.maxunicode:
                return chr(code)
        raise self.error(f"{length} hexadecimal digits of a character")

    def number(self, word: str, wanted: str) -> "Typed":
        try:
            if wanted == "d" or (not wanted and ("." in word or ("e" in word.lower() and "x" not in word.lower()))):
                return "d", float(word)
            number = int(word, 0) if word.lstrip("+-")[:2].lower() == "0x" else int(word, 10)
        except ValueError:
            raise self.error("a value") from None
        code = wanted or "i"  # as GVariant has it for a number without a type
        if code not in _INTEGERS:
            raise self.error(f"a value of type {wanted}")
        lowest, highest = _INTEGERS[code]
        if not lowest <= number <= highest:
            raise self.error(f"a number from {lowest} to {highest}")
        return code, number

    def array(self, wanted: str, depth: int) -> "Typed":
        if wanted and wanted[0] != "a":
            raise self.error(f"a value of type {wanted}")
        element = wanted[1:]
        values: list[Any] = []
        self.position += 1
        while not self.take("]"):
            if values and not self.take(","):
                raise self.error("',' or ']'")
            element, value = self.value(element, depth + 1)
            values.append(value)
        if not element:
            raise self.error("the type of the empty array, as in @as []")
        return "a" + element, bytes(values) if element == "y" else values

    def tuple(self, wanted: str, depth: int) -> "Typed":
        if wanted and wanted[0] != "(":
            raise self.error(f"a value of type {wanted}")
        types = _parts(wanted[1:-1])
        values: list[Any] = []
        found: list[str] = []
        self.position += 1
        while not self.take(")"):
            if values and not self.take(","):
                raise self.error("',' or ')'")
            if values and self.take(")"):  # ('a',) is a tuple of one
                break
            if wanted and len(values) == len(types):
                raise self.error("')'")
            kind, value = self.value(types[len(values)] if wanted else "", depth + 1)
            found.append(kind)
            values.append(value)
        if wanted and len(values) != len(types):
            raise self.error(f"a value of type {types[len(values)]}")
        if not values:
            raise self.error("a value: D-Bus has no empty structures")
        return f"({''.join(found)})", tuple(values)


def _end(signature: str, start: int, depth: int = 0) -> int:
    """Return where the complete type that begins at `start` ends in `signature`; 0 where none begins there."""
    first = signature[start : start + 1]
    if first == "v" or first in _BASIC:
        return start + 1
    if depth >= _DEEPEST:
        return 0
    if first == "a":
        return _end(signature, start + 1, depth + 1)
    end = start + 1 if first == "(" else 0
    while end and signature[end : end + 1] != ")":
        end = _end(signature, end, depth + 1)
    # D-Bus has no empty structures.
    return end + 1 if end > start + 1 else 0


def _parts(signature: str) -> list[str]:
    """The complete types that follow each other in a signature: "sa(su)b" -> ["s", "a(su)", "b"]."""
    parts: list[str] = []
    start = 0
    while start < len(signature) and (end := _end(signature, start)):
        parts.append(signature[start:end])
        start = end
    return parts


def _is_text(text: str) -> bool:
    """Tell whether D-Bus takes `text` for a string: neither NUL nor halves of characters."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def _is_path(text: str) -> bool:
    return text == "/" or (text[:1] == "/" and all(part and _PATH.issuperset(part) for part in text[1:].split("/")))


def _is_signature(text: str) -> bool:
    return "".join(_parts(text)) == text and len(text) <= _LONGEST


_STRINGS = {"s": _is_text, "o": _is_path, "g": _is_signature}
