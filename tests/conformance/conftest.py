"""What the conformance tests share: real containers, made from the configuration of `spec` with some changes.

Each test carries the section it is about, @pytest.mark.clause("config-linux.md#devices"), and the clauses that it
shows to be upheld: @pytest.mark.clause("config-linux.md#devices/available").
"""

import os
from pathlib import Path

import pytest
from containers import mounts


def pytest_collection_modifyitems(items):
    """Refuse a test here without a clause."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and not item.get_closest_marker("clause"):
            raise pytest.UsageError(f"{item.nodeid}: no clause of the spec is named")


@pytest.fixture(autouse=True)
def _privilege():
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def host_mounts(tmp_path_factory):
    """host_mounts() returns the mount table, without the places where others on this machine mount meanwhile."""
    own = f"{tmp_path_factory.getbasetemp()}/"

    def look():
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        places = ((line.split()[4], line) for line in lines)
        return [
            line for place, line in places if place.startswith(own) or not place.startswith(("/run/", "/tmp/", "/var/"))
        ]

    return look


@pytest.fixture
def folder(tmp_path):
    """A directory of the host with a file and a subdirectory."""
    path = tmp_path / "folder"
    (path / "sub").mkdir(parents=True)
    (path / "file").write_text("content\n")
    return path


@pytest.fixture
def inside(containers):
    """inside(script, *changes) runs a shell script in a container and returns what it prints."""
    return containers.inside


@pytest.fixture
def mounted(inside):
    """mounted(path, *changes) returns the last mount at `path` in a container, as Mount."""

    def look(path, *changes, own=False):
        found = [mount for mount in mounts(inside("cat /proc/self/mountinfo", *changes, own=own)) if mount.path == path]
        assert found, f"nothing is mounted at {path}"
        return found[-1]

    return look
