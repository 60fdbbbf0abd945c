"""Programs of the runtime-tools suite that need what only this machine has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "validation"))
import suite

PROGRAMS = suite.IN_MACHINE[os.environ["PYRUNTIME_VM"]]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, pyruntime):
    if PROGRAMS[name]:
        subprocess.run(["apparmor_parser", "--replace"], input=PROGRAMS[name], text=True, check=True)
    outcome = suite.run_all(str(pyruntime), (name,))[name]
    assert outcome.passed, outcome.explain()
