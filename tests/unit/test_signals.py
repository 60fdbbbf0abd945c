"""Signals by name and number."""

import signal

import pytest

from pyruntime.base import signals
from pyruntime.base.errors import Error


def test_the_table_agrees_with_the_standard_library(subtests):
    for known in signal.Signals:
        if known.name.startswith("SIGRT"):
            continue
        with subtests.test(known.name):
            assert signals.NUMBERS[known.name.removeprefix("SIG")] == known
    assert (signals.RTMIN, signals.RTMAX) == (signal.SIGRTMIN, signal.SIGRTMAX)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("term", 15),
        ("sigterm", 15),
        ("15", 15),
        ("0", 0),
        ("64", 64),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmax-1", 63),
        ("RTMAX", 64),
    ],
)
def test_every_way_to_name_a_signal(text, number):
    assert signals.parse(text) == number


@pytest.mark.parametrize(
    "text", ["", "SIG", "65", "-1", "+9", "999999999999999999999", "1.5", "TERMM", "RTMIN-1", "RTMIN+31", "RTMAX+1",
             "RTMIN+", "RTMIN+x", "RTMINX", "٩", "TERM "]
)  # fmt: skip
def test_anything_else_is_an_error_that_names_it(text):
    with pytest.raises(Error) as caught:
        signals.parse(text)
    assert text in caught.value.doing


def test_a_misspelt_signal_suggests_the_nearest():
    with pytest.raises(Error) as caught:
        signals.parse("SIGTREM")
    assert caught.value.advice == "did you mean SIGTERM?"


def test_names_are_read_back(subtests):
    for number in [*range(1, 32), *range(34, 65)]:
        with subtests.test(number=number):
            assert signals.parse(signals.name(number)) == number
