"""engine.state_document: times as text."""

import datetime
import random

import pytest

from pyruntime.engine.state_document import timestamp

EPOCH = datetime.datetime(1970, 1, 1)
DAYS = [(1970, 1, 1), (1972, 2, 29), (1999, 12, 31), (2000, 2, 29), (2000, 3, 1), (2026, 1, 31), (2100, 3, 1)]


@pytest.mark.parametrize("day", DAYS)
def test_a_day_is_that_of_the_calendar(day):
    at = (datetime.datetime(*day) - EPOCH).days * 86400 * 10**9
    assert timestamp(at) == "{:04}-{:02}-{:02}T00:00:00.000000000Z".format(*day)


def test_any_time_is_that_of_the_standard_library():
    numbers = random.Random(1)
    for _ in range(2000):
        seconds, nanoseconds = numbers.randrange(2**33), numbers.randrange(10**9)
        expected = (EPOCH + datetime.timedelta(seconds=seconds)).isoformat()
        assert timestamp(seconds * 10**9 + nanoseconds) == f"{expected}.{nanoseconds:09}Z"
