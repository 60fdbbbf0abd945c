"""What integration tests share: CRIU, containers in the background, and verbs that a Python program carries out."""

import sys
from pathlib import Path

import _cffi_backend
import pytest
from criu import criu, images

import pyruntime

__all__ = ["criu", "images"]


@pytest.fixture
def in_background(runtime, bundle):
    """in_background(change) runs a container with `run --detach` and returns its id."""

    def run(change):
        container = runtime.id()
        runtime("run", "-d", "-b", bundle(change), container)
        return container

    return run


@pytest.fixture
def interpreted(runtime, tmp_path):
    """interpreted(program, *words) carries out a verb, which must succeed, by a Python program instead of the launcher.

    It returns what the program has written to the file argv[1]. The program adds argv[2:4] to its path, and calls the
    verb with argv[4:].
    """
    paths = [str(Path(module.__file__).parents[up]) for module, up in ((_cffi_backend, 0), (pyruntime, 1))]
    plain, record = runtime.command, tmp_path / "record"

    def run(program, *words):
        record.unlink(missing_ok=True)
        interpreter = [sys.executable, "-I", "-S", "-B", "-c", program, str(record), *paths]
        runtime.command = lambda *words: [*interpreter, *plain(*words)[1:]]
        try:
            runtime(*words)
        finally:
            runtime.command = plain
        return record.read_text()

    return run
