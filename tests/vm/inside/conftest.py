"""Fixtures of the tests in the machine: containers of both cgroup drivers."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from running import Containers


@pytest.fixture(scope="session")
def default_config(pyruntime, tmp_path_factory):
    """The text of the configuration that `spec` writes."""
    folder = tmp_path_factory.mktemp("default")
    subprocess.run([pyruntime, "spec", "--bundle", folder], check=True)
    return (folder / "config.json").read_text()


@pytest.fixture
def containers(runtime, default_config, rootfs, tmp_path):
    """Containers whose cgroup pyruntime makes itself."""
    return Containers(runtime, default_config, rootfs, tmp_path)


@pytest.fixture
def by_systemd(runtime, default_config, rootfs, tmp_path):
    """Containers whose cgroup systemd makes."""
    return Containers(runtime, default_config, rootfs, tmp_path, ["--systemd-cgroup"])


@pytest.fixture(params=["cgroupfs", "systemd"])
def either(request):
    """Containers of either driver: the test is run with both."""
    return request.getfixturevalue("by_systemd" if request.param == "systemd" else "containers")
