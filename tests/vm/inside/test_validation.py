"""Programs of the runtime-tools suite that need what only this machine has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "validation"))
import suite

# It allows everything: the suite asks for the name.
_ALL = "file, capability, network, mount, umount, signal, ptrace, unix,"
APPARMOR = f"profile acme_secure_profile flags=(attach_disconnected) {{ {_ALL} }}"
# The machine's start -> the programs, with the AppArmor profile that one needs.
PROGRAMS = {
    "v2": {"process_capabilities": "", "linux_process_apparmor_profile": APPARMOR},
    "older": {"linux_mount_label": "", "linux_cgroups_memory": "", "linux_cgroups_relative_memory": ""},
}[os.environ["PYRUNTIME_VM"]]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, pyruntime):
    if PROGRAMS[name]:
        subprocess.run(["apparmor_parser", "--replace"], input=PROGRAMS[name], text=True, check=True)
    outcome = suite.run_all(str(pyruntime), (name,))[name]
    assert outcome.passed, outcome.explain()
