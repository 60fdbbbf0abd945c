"""What is said of documents that are not JSON: this writes unreadable.txt, for eyes and a test."""

import json
from pathlib import Path

from pyruntime.base.errors import Error
from pyruntime.spec.load import parse

FILE = Path(__file__).with_suffix(".txt")

# Nested too deep for the scanner of some interpreters, and for all of them here.
_ARRAYS, _OBJECTS = b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 30_000 + b"1" + b"}" * 30_000
_FEWER_ARRAYS, _FEWER_OBJECTS = b"[" * 20_000 + b"]" * 20_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000

# No comma before a bracket: Python has other words for it since 3.13.
DOCUMENTS = [
    b"[\n" + _ARRAYS + b",\n" + _ARRAYS + b"]",
    b"[\n" + _FEWER_OBJECTS + b",\n" + _ARRAYS + b"]",
    b"[\n" + _ARRAYS + b",\n" + _FEWER_OBJECTS + b"]",
    b"[\n" + _OBJECTS + b",\n" + _FEWER_ARRAYS + b"]",
    b"[\n" + _FEWER_ARRAYS + b",\n" + _OBJECTS + b"]",
    b"[\n" + _ARRAYS + b",[],{}" * 40_000 + b"\n]",
    b"[\n" + _OBJECTS + b',1,{"a":1}' * 40_000 + b"\n]",
    b"{} X",
    b"X",
    b"\v",
    b"1 X",
    b'["a",{"b":1,"b":2}]',
    b'["x","a",{"b":1,"b":2}]',
    b"",
    b" \n\t\r",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b"\xfe\xff\0{\0}",
    b'{"a":\n"\xff"}',
    b"\n\n\xc3",
    b"\xed\xa0\x80",
    b"x",
    b"\n  x",
    b"{",
    b"[",
    b"[1",
    b"[1,",
    b"[1 2]",
    b'{"a"',
    b'{"a":',
    b'{"a":1',
    b'{"a":1,',
    b"{a:1}",
    b"{'a':1}",
    b'{"a" 1}',
    b"{1:1}",
    b'"a',
    b'"\n"',
    b'"\x01"',
    rb'"\x"',
    rb'"\u12"',
    b"\v{}",
    b"\xc2\xa0{}",
    b"tru",
    b"nul",
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"--1",
    b"1e",
    b"0x1",
    b"// c\n{}",
    b'{"a":/* */1}',
    b"[" + b"x" * 50 + b"]",
    b"[NaN]",
    b"[1,\n -Infinity]",
    b'{"a": Infinity}',
    b"[" + b"7" * 401 + b"]",
    b"-" + b"7" * 400,
    b"NaN x",
    b"NaNx",
    b"{} {}",
    b"{}\n\n  x",
    b"[] ]",
    b"1 2",
    b'"a" "b"',
    b"[1] " + b"y" * 41,
    b"[1] " + b"y" * 40,
    b"{}}",
    b"[]\v",
    b"[x\x1b]",
    b"\x7f",
    b'{"a":1,"a":2}',
    b'{"a":1,\n "b":2,\n "a":3}',
    b'{"a":{"x":1},"b":{"x":1,"y":[],"x":{}}}',
    b'[{},{"a":1,"a":1}]',
    b'{"a":[1,[2,{"~/":1,"~/":2}]]}',
    rb'{"a\u0062":1,"ab":2}',
    b'{"":1,"":2}',
    b'{"a":"a","b":"a","b":1}',
    b'{"' + b"n" * 100 + b'":1,"' + b"n" * 100 + b'":2}',
    b'{"' + b"n" * 101 + b'":1,"' + b"n" * 101 + b'":2}',
    '{"é":1,"é":2}'.encode(),
    b'{"a":"{[,","b":{"a":1},"a":1}',
    b'{"a":[{"a":1},{"a":1}],"c":1,"c":2}',
    rb'["\ud800"]',
    rb'["\\ud800", "\uDC00"]',
    rb'["\ud83d\ude00", "\ud83dx"]',
    rb'["\ude00\ud83d"]',
    b'["a",\n "\\ud800"]',
    b"[" * 100_000,
    b"[\n " + b'{"a":[[' * 50_000,
    b"[[]," * 30_000 + b"\n" + b"[" * 30_000,
    b'{"a":1,"a":2} x',
    b'{"a":NaN,"b":"\x01"}',
    b'{"a":' + b"7" * 500 + b'"b"}',
    b"[1]]",
    b'{"a":}',
    b"]",
    b"}",
    b",",
]


def text():
    """Return two lines for each document: its beginning, and what is said of it."""
    lines = []
    for document in DOCUMENTS:
        try:
            parse(document, "config.json")
        except Error as error:
            lines += [
                f"{document[:60]!r} {len(document)}",
                f"    {error} {json.dumps(error.value)} {error.advice}".rstrip(),
            ]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    FILE.write_text(text())
