"""What a verb imports is counted, because imports are most of the time that a fast verb takes."""

import subprocess
import sys
from pathlib import Path

import _cffi_backend
import pytest

import pyruntime

# Each of these costs more than a whole `state` may.
SLOW = {
    *("argparse", "collections", "contextlib", "dataclasses", "datetime", "enum", "functools", "inspect", "json"),
    *("jsonschema", "logging", "pathlib", "psutil", "re", "shutil", "signal", "socket", "struct", "subprocess"),
    *("tempfile", "typing"),
}

# Modules of the standard library that the hot verbs may import beyond what the interpreter starts with, and cffi's.
ALLOWED = {"_cffi_backend", "_json", "_stat", "errno", "fcntl", "select", "time"}

HOT = ("create", "start", "run", "state", "kill", "delete")

PROGRAM = """
import sys
before = set(sys.modules)
sys.path[:0] = sys.argv[2:]
import pyruntime.cli.main
__import__(f"pyruntime.cli.verbs.{sys.argv[1]}")
kind = type(sys)
def has_code(name):
    return any(key[:2] != "__" and not isinstance(value, kind) for key, value in vars(sys.modules[name]).items())
print(*sorted(filter(has_code, set(sys.modules) - before)))
"""


def imported_by(verb):
    """Return the modules that are imported for `verb` by an interpreter started as the program starts it.

    A package that holds modules and nothing else has no code, and does not count.
    """
    paths = [Path(module.__file__).parents[up] for module, up in ((pyruntime, 1), (_cffi_backend, 0))]
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, verb, *map(str, paths)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("verb", HOT)
def test_a_hot_verb_imports_nothing_slow(verb):
    modules = imported_by(verb)
    assert not modules & SLOW
    assert not {name for name in modules if name.partition(".")[0] != "pyruntime"} - ALLOWED


@pytest.mark.parametrize("verb", [*HOT, "spec", "help", "validate", "plan", "version"])
def test_only_the_chosen_verb_is_imported(verb):
    verbs = {name for name in imported_by(verb) if name.startswith("pyruntime.cli.verbs.")}
    assert verbs == {f"pyruntime.cli.verbs.{verb}"}


@pytest.mark.parametrize("verb", HOT)
def test_what_explains_errors_is_not_imported_before_there_is_one(verb):
    assert not imported_by(verb) & {
        "pyruntime.cli.error_text",
        "pyruntime.spec.schema_errors",
        "pyruntime.spec.json_syntax",
    }


@pytest.mark.parametrize(("verb", "most"), [("state", 18), ("kill", 19), ("delete", 18)])
def test_a_verb_that_only_looks_up_state_imports_few_modules(verb, most):
    assert len({name for name in imported_by(verb) if name.startswith("pyruntime")}) <= most
