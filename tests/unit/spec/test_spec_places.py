"""Line and column of each element of a document."""

import json

import pytest

from pyruntime.spec.places import nearest, places


def test_members_are_placed_at_their_names_and_elements_at_themselves():
    text = '{\n  "a": [1, {"b/c": "x,{}"}],\n  "d~": {}\n}\n'
    assert places(text) == {
        "": (1, 1),
        "/a": (2, 3),
        "/a/0": (2, 9),
        "/a/1": (2, 12),
        "/a/1/b~1c": (2, 13),
        "/d~0": (3, 3),
    }


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_every_element_of_a_document_has_a_place(indent):
    document = {"list": [[], {}, [[1, "]"], {"}": [None, True]}], 'quo"te'], "": {"": {"é": 1.5e3}}, "last": "\\"}

    def pointers(value, at):
        yield at
        members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, member in members:
            yield from pointers(member, f"{at}/{name}")

    text = json.dumps(document, indent=indent, ensure_ascii=False)
    found = places(text)
    assert set(found) == set(pointers(document, ""))
    lines = text.split("\n")
    for pointer, (line, column) in found.items():
        name = pointer.rpartition("/")[2]
        rest = lines[line - 1][column - 1 :]
        assert rest.startswith(json.dumps(name, ensure_ascii=False)) or name.isdigit() or not pointer


def test_what_is_missing_is_placed_where_it_should_be():
    found = places('{"a": {"b": 1}}')
    assert nearest(found, "/a/x/y") == found["/a"]
    assert nearest(found, "/z") == (1, 1)
