"""Fixtures of the tests in the machine: containers of both cgroup drivers."""

import pytest
from containers import Containers


@pytest.fixture
def by_systemd(runtime, default_config, rootfs, tmp_path):
    """Containers whose cgroup systemd makes."""
    return Containers(runtime, default_config, rootfs, tmp_path, ["--systemd-cgroup"])


@pytest.fixture(params=["cgroupfs", "systemd"])
def either(request):
    """Containers of either driver: the test is run with both."""
    return request.getfixturevalue("by_systemd" if request.param == "systemd" else "containers")
