"""What every unit test finds: the log as it is when a program begins, whatever a test before it has configured."""

import pytest

from pyruntime.base import log


@pytest.fixture(autouse=True)
def log_as_at_the_start(monkeypatch):
    """Give each test a log that writes no events, to stderr, and take back what the test configures."""
    monkeypatch.setattr(log, "events", None)
    monkeypatch.setattr(log, "_log", log._Log())
