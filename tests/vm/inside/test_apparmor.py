"""An AppArmor profile on the container's process (config.md#linux-process, apparmor.d(5))."""

import subprocess

import pytest

PROFILE = """
profile pyruntime-test flags=(attach_disconnected) {
    file,
    capability,
    deny /tmp/forbidden rw,
}
"""
