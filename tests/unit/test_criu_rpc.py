"""CRIU's wire format: what protobuf's own documentation gives as examples, and that nothing is lost on the way."""

import pytest

from pyruntime.engine.criu import rpc

TABLE = {"a": (1, None), "b": (2, None), "c": (3, {"a": (1, None)}), "far": (68, None)}


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        ({"a": 150}, "08 96 01"),
        ({"b": "testing"}, "12 07 74 65 73 74 69 6e 67"),
        ({"c": {"a": 150}}, "1a 03 08 96 01"),
        ({"a": True}, "08 01"),
        ({"a": -1}, "08 ff ff ff ff ff ff ff ff ff 01"),
        ({"b": ["x", "y"]}, "12 01 78 12 01 79"),
        ({"far": 1}, "a0 04 01"),
        ({}, ""),
    ],
)
def test_the_wire_format_is_protobufs(message, wire):
    assert rpc.encode(message, TABLE) == bytes.fromhex(wire)


def test_what_was_encoded_is_decoded():
    options = {"images_dir_fd": 7, "external": ["net[1]:a", "pid[2]:b"], "ps": {"address": "::1", "port": 99}}
    request = {"type": rpc.DUMP, "opts": options, "notify_success": 1}
    assert rpc.decode(rpc.encode(request, rpc.REQUEST), rpc.REQUEST) == request


def test_what_is_not_known_is_passed_over():
    assert rpc.decode(bytes.fromhex("28 01 08 05"), TABLE) == {"a": 5}


@pytest.mark.parametrize("wire", ["08", "08 ff", "12 05 61", "0d 00 00 00 00", "1a 02 08 ff"])
def test_half_a_message_is_an_error(wire):
    with pytest.raises(ValueError):
        rpc.decode(bytes.fromhex(wire), TABLE)


def test_a_name_that_is_not_in_the_table_is_an_error():
    with pytest.raises(KeyError):
        rpc.encode({"nonsense": 1}, rpc.REQUEST)
