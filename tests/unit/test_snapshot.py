"""A program that holds a snapshot of itself (csrc/build/snapshot.py), tried on one smaller than the launcher."""

import dis
import importlib.machinery
import marshal
import opcode
import os
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from pyruntime.startup import embedded, rehearsal

BUILD = str(Path(__file__).parents[2] / "csrc/build")
sys.path.insert(0, BUILD)
from freeze import modules  # noqa: E402
from snapshot import LARGE_PAGE, ROOM, store  # noqa: E402

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

# Counts in data that the file has, and in data that it has not, up to where it takes the snapshot.
PROGRAM = r"""
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char __data_start, end;
static int initialized = 41;
static char zero[100000];
static const void *place;
int main(int count, char **words) {
    if (count == 4 && strcmp(words[1], "--snapshot") == 0) {
        initialized++;
        strcpy(zero + 90000, "from the snapshot");
        place = PLACE;
        uint64_t header[3] = {1, (uintptr_t)&__data_start, (uintptr_t)&end};
        int file = open(words[2], O_WRONLY | O_CREAT | O_EXCL, 0600);
        write(file, header, sizeof header);
        write(file, &__data_start, header[2] - header[1]);
        /* The caller's environment is not there; the machine's time zone is not asked for. */
        _exit(getenv("PATH") || !getenv("TZ") || strcmp(words[3], "word"));
    }
    fprintf(stdout, "%d %s %s %d\n", initialized, zero + 90000, getenv("PATH"), place != NULL);
    return 0;
}
"""


@pytest.fixture
def program(tmp_path):
    """A function that compiles the program; it keeps the address `place`."""

    def compiled(*, place="NULL"):
        path = tmp_path / "program"
        options = ["-O1", "-w", "-D_GNU_SOURCE", f"-DPLACE={place}", "-static", f"-Wl,-T,{BUILD}/c_library.ld"]
        subprocess.run(["cc", *options, "-x", "c", "-", "-o", path], input=PROGRAM, text=True, check=True)
        return path

    return compiled


def test_it_goes_on_where_the_snapshot_was_taken_with_what_is_of_its_own_process(program):
    path = program()
    store(path, "word")
    done = subprocess.run([path], env={"PATH": "/mine"}, capture_output=True, text=True, check=True)
    assert done.stdout == "42 from the snapshot /mine 0\n"


def test_a_debugger_still_finds_the_sections(program):
    path = program()
    before = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    store(path, "word")
    after = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    assert not after.stderr
    assert [line.split("]")[1].split()[0] for line in after.stdout.splitlines() if "]" in line[:7]] == [
        line.split("]")[1].split()[0] for line in before.splitlines() if "]" in line[:7]
    ]


def test_the_same_program_comes_of_the_same_sources(program):
    path = program()
    store(path, "word")
    first = path.read_bytes()
    path = program()
    store(path, "word")
    assert path.read_bytes() == first


def test_where_the_builds_output_is_in_its_file_changes_nothing(program, tmp_path):
    found = []
    for before in ("", "something"):
        path = program(place="(void *)(1 + lseek(1, 0, SEEK_CUR))")
        lines = ["import sys", f"sys.path.insert(0, {BUILD!r})", "import pathlib, snapshot"]
        store = "\n".join([*lines, f"snapshot.store(pathlib.Path({str(path)!r}), 'word')"])
        with open(tmp_path / "output", "w") as file:
            file.write(before)
            file.flush()
            subprocess.run([sys.executable, "-c", store], stdout=file, check=True)
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_the_time_of_the_build_is_asked_for_by_nothing(monkeypatch):
    """Sizes of numbers, and so the places of objects, would depend on it: now and then two snapshots would differ."""

    def refuse(*_):
        raise AssertionError("the time of the build")

    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "clock_gettime", "gmtime", "localtime", "strftime"):
        monkeypatch.setattr(time, name, refuse)
    rehearsal.rehearse()


# On the stack, and in memory that is mapped.
PLACES = {"stack": "words", "mapped": "malloc(1 << 20)"}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_is_of_one_process_alone_is_refused(program, place):
    path = program(place=place)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="differ"):
        store(path, "word")
    assert path.read_bytes() == before


@pytest.mark.skipif(shutil.which("setarch") is None, reason="no setarch")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_it_is_refused_where_the_kernel_randomizes_no_addresses(program, place):
    path = program(place=place)
    lines = ["import sys", f"sys.path.insert(0, {BUILD!r})", "import pathlib, snapshot"]
    store = "\n".join([*lines, f"snapshot.store(pathlib.Path({str(path)!r}), 'word')"])
    done = subprocess.run(["setarch", "-R", sys.executable, "-c", store], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "differ" in done.stderr


def test_nothing_of_the_build_is_in_the_program(pyruntime):
    data = pyruntime.read_bytes()
    # With what ends the name: "/root/p" alone is the beginning of JSON pointers.
    for end in "/\0":
        repository = f"{Path(__file__).parents[2]}{end}"
        assert os.fsencode(repository) not in data
        assert repository.encode("utf-32-le") not in data
    assert b"TZ=UTC0" not in data


def test_a_snapshot_ends_with_a_page(pyruntime):
    if b"--snapshot" not in pyruntime.read_bytes():
        pytest.skip("libpython is not part of the program")
    lines = subprocess.run(["readelf", "-lW", pyruntime], capture_output=True, text=True, check=True).stdout
    writable = next(line.split() for line in lines.splitlines() if "LOAD" in line and " RW " in line)
    address, in_file, in_memory = (int(writable[column], 16) for column in (2, 4, 5))
    end = address + in_file
    assert end % 4096 == 0
    # Zeros follow, with room for a large page at its boundary (csrc/launcher/arena.c).
    room = end + ROOM
    assert address + in_memory == room + -room % LARGE_PAGE + LARGE_PAGE


def functions(code):
    """Yield what a code object defines, at every depth."""
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield inner
            yield from functions(inner)


def specialized(code):
    """Return a pattern of the code's instructions in memory: each of its global names knows its dictionary."""
    known = b"".join(re.escape(bytes([dis._all_opmap[f"LOAD_GLOBAL_{kind}"]])) for kind in ("MODULE", "BUILTIN"))
    pattern, index = b"", 0
    while index < len(code.co_code):
        operation, argument = code.co_code[index : index + 2]
        caches = 2 * opcode._inline_cache_entries[operation]
        pattern += b"[%s]" % known if operation == opcode.opmap["LOAD_GLOBAL"] else b"."
        pattern += re.escape(bytes([argument])) + b".{%d}" % caches
        index += 2 + caches
    return re.compile(pattern, re.DOTALL)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="only CPython 3.11 has its code specialized ahead")
def test_global_names_are_looked_up_when_the_snapshot_is_taken(pyruntime):
    data = pyruntime.read_bytes()
    if b"--snapshot" not in data:
        pytest.skip("libpython is not part of the program")
    frozen = {name: code for name, _, code in modules(Path(embedded.__file__).parents[1], [])}
    with_globals = [
        code
        for code in functions(marshal.loads(frozen["pyruntime.operations.create"]))
        if any(instruction.opname == "LOAD_GLOBAL" for instruction in dis.get_instructions(code))
    ]
    assert len(with_globals) > 10
    assert [code.co_qualname for code in with_globals if not specialized(code).search(data)] == []


def test_the_first_module_from_a_file_brings_the_search_path_and_the_time_zone(monkeypatch):
    library = os.path.dirname(os.__file__)
    monkeypatch.setattr(sys, "path", ["/packages"])
    monkeypatch.setattr(sys, "meta_path", [embedded._Files])
    monkeypatch.setattr(embedded, "_finder", importlib.machinery.PathFinder)
    monkeypatch.setattr(sys.modules["encodings"], "__path__", [])
    monkeypatch.setitem(sys.modules, "_launcher", types.SimpleNamespace(library=lambda: library))
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "XYZ-3")
        found = embedded._Files.find_spec("colorsys")
        assert (time.tzname[0], time.timezone) == ("XYZ", -3 * 3600)
    time.tzset()
    assert found.origin == f"{library}/colorsys.py"
    assert sys.path == [library, f"{library}/lib-dynload", "/packages"]
    assert sys.meta_path == [importlib.machinery.PathFinder]
    assert sys.modules["encodings"].__path__ == [f"{library}/encodings"]
