"""The examples of docs/sandbox.md run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PAGE = Path(__file__).parents[2] / "docs/sandbox.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
CONSOLES = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number, tmp_path):
    code = EXAMPLES[number]
    path = tmp_path / "test_example.py"
    path.write_text(code)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", path] if "def test_" in code else [path]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("number", range(len(CONSOLES)))
def test_a_command_prints_what_the_page_says(pyruntime, number, tmp_path):
    for part in CONSOLES[number].split("$ ")[1:]:
        command, _, shown = part.partition("\n")
        assert command.startswith("pyruntime ")
        done = subprocess.run(
            ["sh", "-c", f"{pyruntime} {command[len('pyruntime ') :]}"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        # "…" stands for what differs from call to call.
        assert re.fullmatch(".*".join(map(re.escape, shown.split("…"))), done.stdout), done.stdout


def test_there_are_some():
    assert len(EXAMPLES) >= 7 and len(CONSOLES) >= 1
