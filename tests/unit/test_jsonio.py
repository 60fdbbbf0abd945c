"""The small JSON codec agrees with the standard library's."""

import json

import pytest

from pyruntime.base import jsonio

VALUES = [
    None,
    True,
    False,
    0,
    -(2**70),
    1.5,
    "",
    'quote " backslash \\ newline \n nul \0',
    "é€😀",
    "\udcff",
    [],
    {},
    [[]],
    {"a": {}},
    {"a": [1, {"b": [None, True]}, []], "c": ("x", 2)},
]


@pytest.mark.parametrize("value", VALUES)
def test_compact_there_is_no_space(value):
    assert jsonio.dumps(value, compact=True) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("value", VALUES)
def test_dumps_writes_what_the_standard_library_writes(value, indent):
    assert jsonio.dumps(value, indent) == json.dumps(value, indent=indent)


@pytest.mark.parametrize("value", VALUES)
def test_a_line_is_what_dumps_writes(value):
    assert jsonio.line(value) == jsonio.dumps(value)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_survives_the_round_trip(value):
    assert jsonio.loads(f" \n{jsonio.dumps(value, 2)}\t\n") == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {1, 2}, b"x", object()])
def test_dumps_refuses_what_json_has_no_form_for(value):
    with pytest.raises(TypeError):
        jsonio.dumps([value])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_dumps_refuses_numbers_that_json_cannot_say(value):
    for encode in (jsonio.dumps, jsonio.line):
        with pytest.raises(ValueError):
            encode({"x": value})


@pytest.mark.parametrize("value", [{1, 2}, b"x", object()])
def test_a_line_is_refused_for_what_json_has_no_form_for(value):
    with pytest.raises(TypeError):
        jsonio.line([value])


@pytest.mark.parametrize(
    "text", ["", "  ", "{} {}", "NaN", "-Infinity", "[1,]", "{'a':1}", "tru", "\0", '"\n"', "[", "1x"]
)
def test_loads_refuses_what_is_not_one_document(text):
    with pytest.raises(ValueError):
        jsonio.loads(text)
