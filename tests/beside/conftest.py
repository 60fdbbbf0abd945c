"""The measurement, which all tests of this folder share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import peers


@pytest.fixture(scope="session")
def measured(pyruntime, session):
    """What each variation shows under each runtime."""
    assert not peers.missing(), f"not installed: {peers.missing()}"
    return peers.measure(pyruntime, environment={"PYRUNTIME_SESSION": session})
