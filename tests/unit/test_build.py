"""The build of the program (csrc/build): what it says where something is missing, and modules that are laid into it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "csrc/build"))
import elf  # noqa: E402
import interpreter  # noqa: E402
import program  # noqa: E402
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


def test_the_program_says_which_library_of_a_module_is_missing(monkeypatch, tmp_path):
    module = SimpleNamespace(name="binascii", libraries=["c", "no-such"])
    monkeypatch.setattr(program, "_extensions_of_the_interpreter", lambda: [module])
    monkeypatch.setattr(interpreter, "why_no_snapshot", str)
    directory, reason = program.ingredients(tmp_path)
    assert directory is None and "no-such" in reason and "binascii" in reason


def make(folder, *words):
    """Return what make says when it fails where nothing is built yet, in a folder whose name has a blank."""
    place = folder / "with blank"
    place.mkdir(exist_ok=True)
    for name in ("Makefile", "setup.py", "setup.cfg", "pyproject.toml", "csrc", "pyruntime", "spec-fixtures"):
        (place / name).symlink_to(ROOT / name)
    before = sorted(place.rglob("*"))
    words = ["make", "BUILD_PACKAGES=", *words]
    # Not those of the make that calls the tests.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
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
    assert [Path(path).name for path in interpreter.libraries()] == ["libdl.a", "libm.a"]


# ---- Modules that are laid in ----

MODULE = """
#include <math.h>
int PyExtern_number(int);
extern int Py_variable;
extern char **environ;
static int counter = 40, *where = &counter;
static char zero[5000];
static const char *const words[] = {"one", "two"};
int *PyInit_small(void) {
    /* The C library chooses this function for the processor. */
    int one = (int)cos(zero[4998]) + words[zero[4998]][3];
    *where += PyExtern_number(one) + Py_variable + zero[4999]++ + !environ;
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


def shared(folder, source, binding="now"):
    """Compile a shared object."""
    path = folder / "small.so"
    words = ["cc", "-shared", "-fPIC", "-O1", "-Wl,-z,relro", f"-Wl,-z,{binding}", "-x", "c", "-", "-lm", "-o", path]
    subprocess.run(words, input=source, text=True, check=True)
    return path


def chosen_at_the_start(program):
    """Return where the addresses of the functions are put that the C library chooses for the processor."""
    text = subprocess.run(["readelf", "-rW", program], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0], 16) for line in text.splitlines() if "IRELATIV" in line]


@pytest.mark.parametrize("binding", ["now", "lazy"])
def test_a_module_that_is_a_file_becomes_a_part_of_the_program(tmp_path, binding):
    module = Extension("small", shared(tmp_path, MODULE, binding), 0)
    assert module.libraries == ["m", "c"]
    (tmp_path / "small.s").write_text(module.assembly)
    (tmp_path / "main.c").write_text(PROGRAM)
    path = tmp_path / "program"
    words = ["cc", "-static", "-fno-pie", "main.c", "small.s", *module.options, "-lm", "-o", path]
    subprocess.run(words, cwd=tmp_path, check=True)
    assert subprocess.run([path], capture_output=True, text=True, check=True).stdout == "42 45\n"
    # Its data is written to by itself alone, not for a function that is chosen at the start.
    assert not any(place >= module.base for place in chosen_at_the_start(path))
    # Nothing that can be written to is executable, and what the linker alone writes to is read only.
    flags = {load.flags for load in elf.File(path).segments_of(elf.LOAD)}
    assert not any(flag & elf.EXECUTABLE_FLAG and flag & elf.WRITABLE_FLAG for flag in flags)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("__thread int own; int *PyInit_small(void) { return &own; }", "each thread"),
    ],
    ids=["of-threads"],
)
def test_a_module_that_needs_the_dynamic_linker_is_refused(tmp_path, source, reason):
    with pytest.raises(ValueError, match=reason):
        Extension("small", shared(tmp_path, source), 0)


# Imports all that the program can import, where no shared object can be loaded but those that are named.
IMPORTS = """
import _imp, ast, importlib, sys
from pathlib import Path
import pyruntime
load, linked_in = _imp.create_dynamic, sys.argv[1:]
def create(spec, *rest):
    if spec.name in linked_in or spec.name.startswith("pyruntime."):
        return load(spec, *rest)
    raise ImportError(f"{spec.name} is a shared object")
_imp.create_dynamic = create
package = Path(pyruntime.__file__).parent
def imported(node):
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module
    for child in ast.iter_child_nodes(node):
        yield from imported(child)
for path in sorted(package.rglob("*.py")):
    name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
    # What the interpreter's own process runs.
    if "sandbox" in name or name in ("pyruntime.spec.schema_errors", "pyruntime.__main__"):
        continue
    for wanted in [name, *imported(ast.parse(path.read_text()))]:
        if wanted not in ("_launcher", "pyruntime.spec.schema_errors") and not wanted.startswith("pyroute2"):
            try:
                importlib.import_module(wanted)
            except ImportError as error:
                print(f"{name} imports {wanted}: {error}")
"""


def test_no_verb_imports_what_the_program_cannot_load():
    """The program loads no shared object; some modules of the standard library are nothing else, with pyenv most."""
    words = [sys.executable, "-I", "-c", IMPORTS, *program.FILES, "_cffi_backend"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == ""


def test_what_libraries_write_to_is_apart(tmp_path):
    """It is not part of the snapshot; what of it were would be of another process."""
    words = ["cc", "-static", f"-Wl,-T,{ROOT / program.APART}", "-Wl,-Map=map", "-x", "c", "-", "-o", "program"]
    subprocess.run(words, cwd=tmp_path, input='#include <stdio.h>\nint main() { puts(""); }', text=True, check=True)
    found, section = set(), ""
    for line in (tmp_path / "map").read_text().partition("\nLinker script and memory map\n")[2].splitlines():
        if line and not line.startswith(" "):
            section = line.split()[0]
        # Address, size, and the member of the archive.
        if re.search(r"0x\w+ +0x[1-9a-f]\w* .*\.a\(", line):
            found.add(section)
    assert {".text", ".c_library"} <= found
    assert not {".data", ".bss"} & found


# ---- The program itself ----


def test_what_is_filled_in_at_the_start_is_read_only_after_it(pyruntime):
    file = elf.File(pyruntime)
    (relro,) = file.segments_of(elf.RELRO)
    table = file.section(".got")
    assert relro.holds(table.address) and relro.holds(table.address + table.size - 1)
    text = subprocess.run(["readelf", "-SW", pyruntime], capture_output=True, text=True, check=True).stdout
    assert ".got.plt" not in text
    places = chosen_at_the_start(pyruntime)
    assert places and all(relro.holds(place) for place in places)


def test_no_dynamic_linker_has_a_part_in_it(pyruntime):
    """It would be the host's while the program starts, and the container's if a container's process executes it."""
    assert not elf.File(pyruntime).segments_of(elf.DYNAMIC)
    assert not elf.File(pyruntime).segments_of(elf.INTERPRETER)


def test_nothing_of_the_program_is_both_written_to_and_executed(pyruntime):
    for load in elf.File(pyruntime).segments_of(elf.LOAD):
        assert not (load.flags & elf.EXECUTABLE_FLAG and load.flags & elf.WRITABLE_FLAG)
