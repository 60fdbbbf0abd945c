"""GVariant's text format, as annotations carry it for systemd."""

import pytest

from pyruntime.plan.cgroup.gvariant import parse

VALUES = [
    ("true", ("b", True)),
    ("boolean false", ("b", False)),
    ("-5", ("i", -5)),
    ("0x1e", ("i", 30)),
    ("-0x1E", ("i", -30)),
    ("010", ("i", 10)),
    ("-2147483648", ("i", -(2**31))),
    ("uint64 18446744073709551615", ("t", 2**64 - 1)),
    ("byte 0xff", ("y", 255)),
    ("1.5", ("d", 1.5)),
    ("1e3", ("d", 1000.0)),
    ("double 2", ("d", 2.0)),
    ("'inactive-or-failed'", ("s", "inactive-or-failed")),
    ('"it\'s"', ("s", "it's")),
    (r"'a\n\u00e9\'\\'", ("s", "a\né'\\")),
    ("objectpath '/a'", ("o", "/a")),
    ("['a', 'b']", ("as", ["a", "b"])),
    ("[uint32 1, 2]", ("au", [1, 2])),
    ("@as []", ("as", [])),
    ("@au [1]", ("au", [1])),
    ("[byte 1, 2]", ("ay", b"\x01\x02")),
    ("('a', uint32 1)", ("(su)", ("a", 1))),
    ("('a',)", ("(s)", ("a",))),
    ("[('a', true), ('b', false)]", ("a(sb)", [("a", True), ("b", False)])),
    ("@a(ss) [('x', 'y')]", ("a(ss)", [("x", "y")])),
    ("@(sau) ('x', [1])", ("(sau)", ("x", [1]))),
    ("<'x'>", ("v", ("s", "x"))),
    ("@v <1>", ("v", ("i", 1))),
    ("[<1>, <'x'>]", ("av", [("i", 1), ("s", "x")])),
    ("@(sa(su)aay) ('x', [('y', 1)], [])", ("(sa(su)aay)", ("x", [("y", 1)], []))),
    ("objectpath '/'", ("o", "/")),
    ("objectpath '/a/b'", ("o", "/a/b")),
    ("@g 'a(su)y'", ("g", "a(su)y")),
    (r"'\U0001f600'", ("s", "\U0001f600")),
    ("  5  ", ("i", 5)),
]


@pytest.mark.parametrize(("text", "typed"), VALUES, ids=[text for text, _ in VALUES])
def test_value(text, typed):
    assert parse(text) == typed


# What D-Bus cannot carry; systemd would close the connection.
UNSENDABLE = [
    *(
        "()",
        "<()>",
        "@() ()",
        "@a() []",
        "@{} []",
        "@a{ss} []",
        "@( ()",
        "@(s ('a',)",
        "@ai) []",
        "@zi) []",
        "@ii 1",
        "@z 1",
        "@a []",
    ),
    *("@s <'x'>", "[1, <'x'>]", "@u <1>", "@(s) (<'x'>,)", "string <'x'>"),
    *(r"'\u0000'", r"'\ud800'", "'\0'", "'\ud800'", r"'\U00110000'", r"'\u+123'", r"'\u1_23'", r"'\u 123'"),
    *(
        "objectpath ''",
        "objectpath 'a'",
        "objectpath '/a/'",
        "objectpath '//'",
        "objectpath '/a-b'",
        "objectpath '/a//b'",
    ),
    *(
        "signature 'zi)'",
        "signature 'z'",
        "signature 'a'",
        "signature '(s'",
        "signature '()'",
        f"signature '{'i' * 256}'",
    ),
    *(f"@{'a' * 33}i []", f"({'1, ' * 254})", f"<({'1, ' * 254})>"),
]


@pytest.mark.parametrize("text", UNSENDABLE, ids=[ascii(text)[:30] for text in UNSENDABLE])
def test_what_cannot_be_sent_is_no_value(text):
    with pytest.raises(ValueError, match=r"expected .* at character"):
        parse(text)


def test_what_is_just_short_enough_can_be_sent():
    assert parse(f"@{'a' * 32}i []") == (f"{'a' * 32}i", [])
    assert parse(f"({'1, ' * 253})")[0] == f"({'i' * 253})"
    assert parse(f"signature '{'i' * 255}'") == ("g", "i" * 255)


def test_an_error_repeats_no_more_than_the_beginning_of_a_long_text():
    with pytest.raises(ValueError, match="expected") as raised:
        parse("'" + "x" * 5000)
    assert str(raised.value) == f"expected the closing ' at character 5001 of {chr(34)}'{'x' * 199}{chr(34)}"


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("[1, 'a']", 4, "a value of type i"),
        ("[1 2]", 3, "',' or ']'"),
        ("[[]]", 3, "the type of the empty array, as in @as []"),
        ("@s [1]", 3, "a value of type s"),
        ("@s (1,)", 3, "a value of type s"),
        ("(1 2)", 3, "',' or ')'"),
        ("@(ii) (1, 2, 3)", 13, "')'"),
        ("@(ii) (1,)", 10, "a value of type i"),
        ("()", 2, "a value: D-Bus has no empty structures"),
        ("<1", 2, "'>'"),
        (r"'\u12'", 7, "4 hexadecimal digits of a character"),
        (r"'\U0001f6'", 11, "8 hexadecimal digits of a character"),
        (r"'\ud800'", 7, "a string that UTF-8 can write"),
        ("objectpath 'a'", 13, "an object path"),
        ("objectpath '/a b'", 16, "an object path"),
        ("signature 'z'", 12, "a signature"),
        ("'open", 5, "the closing '"),
        ("5 6", 2, "the end"),
        ("@z 1", 2, "type signature"),
        ("@s @u 1", 5, "type s"),
        ("@i <1>", 3, "a value of type i"),
        ("@i true", 7, "a value of type i"),
        ("@i uint32 1", 9, "a value of type i"),
        ("uint32 -1", 9, "a number from 0 to 4294967295"),
        ("int16 32768", 11, "a number from -32768 to 32767"),
        ("1.2.3", 5, "a value"),
        ("0b1", 3, "a value"),
        ("@v 5", 4, "a value of type v"),
        ("<" * 33 + "1", 33, "less nesting"),
        ("[" * 33 + "1", 33, "less nesting"),
        ("(" * 33 + "1", 33, "less nesting"),
        (f"({'1,' * 256})", 514, "a type of at most 255 characters"),
        (f"@{'(' * 33}i{')' * 33} 1", 68, "type signature"),
    ],
)
def test_what_was_expected_and_where(text, place, expected):
    with pytest.raises(ValueError, match="expected") as raised:
        parse(text)
    assert str(raised.value) == f"expected {expected} at character {place} of {text[:200]!r}"


def test_nesting_to_the_last_level():
    for opening, closing, signature in (("[", "]", "a" * 32 + "i"), ("(", ",)", "(" * 32 + "i" + ")" * 32)):
        assert parse(opening * 32 + "1" + closing * 32)[0] == signature
    assert parse("<" * 32 + "1" + ">" * 32)[0] == "v"
    assert parse(f"@a{'(' * 31}i{')' * 31} []") == (f"a{'(' * 31}i{')' * 31}", [])


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "abc", "5 6", "'open", "[1, 'a']", "[]", "(1", "(1 2)", "[1", "uint32 -1", "byte 256", "2147483648"),
        *("uint32 'a'", "boolean 1", "@as [1]", "@(su) ('a',)", "@(s) ('a', 'b')", "<1", "'\\u12'", "1.2.3"),
        *("uint64 true", "@u 'a'", "string [1]", "string ('a', 'b')", "[" * 100 + "]" * 100),
    ],
)
def test_what_is_no_value_is_an_error_that_says_where(text):
    with pytest.raises(ValueError, match=r"expected .* at character"):
        parse(text)
