"""A sample of `make attack`, the same each time: some points of every verb with every configuration."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="how a system call is replaced is known for x86_64 only"),
]

SAMPLE = 4


def test_no_point_of_the_sample_hangs_leaves_or_weakens_anything(pyruntime, tmp_path):
    program = Path(__file__).with_name("attack.py")
    words = [sys.executable, program, "--sample", str(SAMPLE), "--jobs", "2", "--findings", tmp_path / "findings"]
    done = subprocess.run(
        words, env={**os.environ, "PYRUNTIME": str(pyruntime)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Each line of the table is a scenario, whose points have been met.
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for name, _, kills, faults, findings in rows:
        assert int(kills) + int(faults) == SAMPLE and findings.strip() == "none", name
