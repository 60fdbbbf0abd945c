"""The build of the program (csrc/build): what it says where something is missing, and modules that are laid into it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "csrc/build"))
import elf  # noqa: E402
import interpreter  # noqa: E402
from extensions import Extension  # noqa: E402

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

# ---- What is missing ----


def build(folder, **environment):
    """Call setup.py as pip does, with everything that it makes in `folder`."""
    words = [sys.executable, "setup.py", "-q", "build", "--build-base", folder / "build"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def compiler_without(header, folder):
    """Return the path of a compiler that does not find `header`."""
    path = folder / "cc"
    path.write_text(f'#!/bin/sh\ncase " $* " in *" {header} "*) exit 1;; esac\nexec cc "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("header", "package"), [("Python.h", interpreter.PYTHON_X_Y), ("seccomp.h", "libseccomp-dev")])
def test_a_missing_header_is_named_before_anything_is_built(tmp_path, header, package):
    done = build(tmp_path, CC=compiler_without(header, tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("pyruntime: the headers of ") and package in line
    assert not (tmp_path / "build").exists()


def test_a_missing_compiler_is_named_before_anything_is_built(tmp_path):
    done = build(tmp_path, CC="/no/such/compiler -O2")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "/no/such/compiler" in done.stderr
    assert not (tmp_path / "build").exists()


def test_the_program_says_why_it_holds_no_snapshot(monkeypatch):
    monkeypatch.setenv("PYRUNTIME_START", "plain")
    assert "PYRUNTIME_START=plain" in interpreter.why_no_snapshot()
    monkeypatch.delenv("PYRUNTIME_START")
    monkeypatch.setattr(interpreter, "libpython", lambda: None)
    assert f"lib{interpreter.PYTHON_X_Y}-dev" in interpreter.why_no_snapshot()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert "3.99" in interpreter.why_no_snapshot()


def make(folder, *words):
    """Return what make says when it fails where nothing is built yet, in a folder whose name has a blank."""
    place = folder / "with blank"
    place.mkdir(exist_ok=True)
    for name in ("Makefile", "setup.py", "setup.cfg", "pyproject.toml", "csrc", "pyruntime", "spec-fixtures"):
        (place / name).symlink_to(ROOT / name)
    before = sorted(place.rglob("*"))
    words = ["make", "BUILD_PACKAGES=", *words]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert sorted(place.rglob("*")) == before
    (said, _) = done.stderr.splitlines()  # and that a rule has failed
    return said


def environment_of(folder):
    """Make what `make` takes for an environment of another interpreter."""
    other = folder / "with blank/.venv/bin/python"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)


NO_PYTHON = {
    "": "is not in PATH",
    "no-such-python": "is not in PATH",
    "cat": "is no Python 3.10 or later",
    "/nothing": "does not exist",
    "/etc/passwd": "is not executable",
    "/tmp": "is a directory",
    "/bin/false": "is no Python 3.10 or later",
    "/bin/true": "is no Python 3.10 or later",
}


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("name", NO_PYTHON)
def test_make_names_an_interpreter_that_is_none(tmp_path, name, built):
    if built:
        environment_of(tmp_path)
    said = make(tmp_path, f"PYTHON={name}")
    assert said == f"PYTHON={name} {NO_PYTHON[name]}: name a Python 3.10 or later, as in  make PYTHON=/usr/bin/python3"


def test_make_names_what_is_missing_before_it_makes_an_environment(tmp_path):
    compiler = compiler_without("Python.h", tmp_path)
    said = make(tmp_path, f"CC={compiler}", f"PYTHON={sys.executable}")
    assert said == f"the headers of {interpreter.PYTHON_X_Y} are missing: install {interpreter.PYTHON_X_Y}-dev"


def test_make_names_a_prefix_that_cannot_be_written_before_it_builds(tmp_path):
    assert make(tmp_path, "install", "PREFIX=/proc/x").startswith("cannot write to /proc/x/lib: choose another place")


def test_make_does_not_take_another_interpreter_than_the_one_that_is_named(tmp_path):
    environment_of(tmp_path)
    said = make(tmp_path, f"PYTHON={sys.executable}")
    assert said == f".venv has another Python than PYTHON={sys.executable}: run  make clean  first"


# ---- The words for the linker ----


def test_words_that_are_no_libraries_are_left_out(monkeypatch):
    """As Debian's 3.13 and 3.14 have them: a file of the interpreter's own build, and backslashes."""
    variables = {"MODLIBS": "-lm  Modules/_hacl/libHacl_Hash_SHA2.a \\ -lm \\", "LIBS": "-ldl -L/own -Wl,-rpath,/own"}
    monkeypatch.setattr(sysconfig, "get_config_var", variables.get)
    assert interpreter.libraries() == ["-lm", "-ldl"]


# ---- Modules that are laid in ----

MODULE = """
#include <string.h>
int PyExtern_number(int);
extern int Py_variable;
static int counter = 40, *where = &counter;
static char zero[5000];
static const char *const words[] = {"one", "two"};
int *PyInit_small(void) {
    *where += PyExtern_number(strlen(words[1]) - 2) + Py_variable + zero[4999]++;
    return where;
}
"""
PROGRAM = """
#include <stdio.h>
int Py_variable = 1;
int PyExtern_number(int number) { return number; }
int *PyInit_small(void);
int main(void) {
    int first = *PyInit_small();
    printf("%d %d\\n", first, *PyInit_small());
}
"""


def shared(folder, source):
    """Compile a shared object."""
    path = folder / "small.so"
    words = ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", path]
    subprocess.run(words, input=source, text=True, check=True)
    return path


def test_a_module_that_is_a_file_becomes_a_part_of_the_program(tmp_path):
    module = Extension("small", shared(tmp_path, MODULE), 0)
    (tmp_path / "small.s").write_text(module.assembly)
    (tmp_path / "main.c").write_text(PROGRAM)
    program = tmp_path / "program"
    words = ["cc", "-no-pie", "-fno-pie", tmp_path / "main.c", tmp_path / "small.s", *module.options, "-o", program]
    subprocess.run(words, check=True)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "42 45\n"
    # Nothing that can be written to is executable, and what the linker alone writes to is read only.
    flags = {load.flags for load in elf.File(program).segments_of(elf.LOAD)}
    assert not any(flag & elf.EXECUTABLE_FLAG and flag & elf.WRITABLE_FLAG for flag in flags)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("__thread int own; int *PyInit_small(void) { return &own; }", "each thread"),
        ("extern char **environ; void *PyInit_small(void) { return environ; }", "not known"),
    ],
    ids=["of-threads", "of-the-library"],
)
def test_a_module_that_needs_the_dynamic_linker_is_refused(tmp_path, source, reason):
    with pytest.raises(ValueError, match=reason):
        Extension("small", shared(tmp_path, source), 0)


# ---- The program itself ----


def test_what_the_dynamic_linker_fills_in_is_read_only_after_it(pyruntime):
    text = subprocess.run(["readelf", "-dW", pyruntime], capture_output=True, text=True, check=True).stdout
    assert "BIND_NOW" in text
    assert elf.File(pyruntime).segments_of(elf.RELRO)


def test_nothing_of_the_program_is_both_written_to_and_executed(pyruntime):
    for load in elf.File(pyruntime).segments_of(elf.LOAD):
        assert not (load.flags & elf.EXECUTABLE_FLAG and load.flags & elf.WRITABLE_FLAG)
