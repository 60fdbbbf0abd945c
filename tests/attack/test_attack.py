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
    rows = attack(pyruntime, tmp_path, "--sample", str(SAMPLE), "--jobs", "2")
    assert len(rows) > 20
    for name, _, kills, faults, findings in rows:
        assert int(kills) + int(faults) == SAMPLE and findings.strip() == "none", name


def test_exec_ends_when_the_intermediate_process_is_killed_after_it_has_made_the_next_one(pyruntime, tmp_path):
    """It made both a second time, and waited for ever, in one of ten or so of such kills: so there are many."""
    words = ("--only", "exec-detached (full)", "--points", "kill at clone3 (1.*", "--times", "40")
    assert [row[2:] for row in attack(pyruntime, tmp_path, *words)] == [[" 40 ", " 0 ", " none "]]


def test_the_process_that_waits_has_its_descriptors_or_is_not_made(pyruntime, tmp_path):
    """It inherits them over execve(2). Without the terminal's it waited for ever."""
    (row,) = attack(pyruntime, tmp_path, "--only", "run-terminal (full)", "--points", "EIO at fcntl*")
    assert int(row[3]) > 0 and row[4].strip() == "none", row


def attack(pyruntime, folder, *options):
    """Return the lines of the table, each of which is a scenario, whose points have been met."""
    words = [sys.executable, Path(__file__).with_name("attack.py"), "--findings", folder / "findings", *options]
    done = subprocess.run(
        words, env={**os.environ, "PYRUNTIME": str(pyruntime)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
