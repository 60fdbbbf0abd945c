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


def test_there_are_some():
    assert len(EXAMPLES) >= 7
