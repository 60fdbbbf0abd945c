"""Notices that a container ran out of memory: an eventfd(2) of cgroup v1 also tells that the group was removed."""

import os
import select

import pytest

from pyruntime.cgroup import oom


@pytest.fixture
def notices(tmp_path):
    """Those of a group, which is a directory here; what the kernel would add to the eventfd is added by the test."""
    (tmp_path / "cgroup.event_control").touch()
    found = object.__new__(oom.OomNotices)
    found.events = select.POLLIN
    found._path = str(tmp_path / "cgroup.event_control")
    found._control = os.open(tmp_path, os.O_PATH)
    found.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield found
    found.close()


class Removal:
    """Stands for poll(2): what the kernel adds for the removal of the group comes while it waits, or not at all."""

    def __init__(self, fd, comes):
        self._fd = fd
        self._comes = comes

    def register(self, fd, events):
        assert (fd, events) == (self._fd, select.POLLIN)

    def poll(self, milliseconds):
        assert milliseconds >= 1000
        if not self._comes:
            return []
        os.eventfd_write(self._fd, 1)
        return [(self._fd, select.POLLIN)]


def test_nothing_has_happened(notices):
    assert notices.take() == 0


def test_each_is_told_once(notices):
    os.eventfd_write(notices.fd, 2)
    assert [notices.take(), notices.take()] == [2, 0]


@pytest.mark.parametrize(("seen", "comes", "expected"), [(1, False, 0), (1, True, 1), (3, False, 2), (3, True, 3)])
def test_the_removal_of_the_group_is_none_whenever_it_is_told(notices, monkeypatch, seen, comes, expected):
    """The directory has gone before the kernel tells so."""
    os.unlink(notices._path)
    os.eventfd_write(notices.fd, seen)
    monkeypatch.setattr(oom.select, "poll", lambda: Removal(notices.fd, comes))
    assert notices.take() == expected
