"""A CRIU that works with every kernel, for tests of checkpoint and restore."""

import json
import os
import sys
from pathlib import Path

import pytest

FAKE = Path(__file__).parents[1] / "integration/fake_criu.py"


class FakeCriu:
    """A criu of ours in $PATH (fake_criu.py): what it was asked, and how it answers."""

    def __init__(self, place):
        self.place = place
        place.mkdir()
        (place / "criu").write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
        (place / "criu").chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "FAKE_CRIU": str(place)}

    def answers(self, mode):
        (self.place / "mode").write_text(mode)

    def has_a_terminal(self):
        (self.place / "terminal").touch()

    def options(self, kind):
        """Return the options of the one request of type `kind`."""
        requests = [json.loads(line) for line in (self.place / "requests").read_text().splitlines()]
        (found,) = [request["opts"] for request in requests if request["type"] == kind]
        return found


@pytest.fixture
def criu(tmp_path):
    return FakeCriu(tmp_path / "criu")


@pytest.fixture
def images(tmp_path):
    """A directory with what checkpoint leaves beside CRIU's images."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/descriptors.json").write_text('["/dev/null", "pipe:[17]", "/dev/null"]')
    return tmp_path / "images"
