"""A program that holds a snapshot of itself (csrc/snapshot.py), tried on one that is smaller than the launcher."""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

STORE = runpy.run_path(str(Path(__file__).parents[2] / "csrc" / "snapshot.py"))["store"]

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
    if (count == 3 && strcmp(words[1], "--snapshot") == 0) {
        initialized++;
        strcpy(zero + 90000, "from the snapshot");
        if (PLACE)
            place = words;
        uint64_t header[2] = {(uintptr_t)&__data_start, (uintptr_t)&end};
        int file = open(words[2], O_WRONLY | O_CREAT | O_EXCL, 0600);
        write(file, header, sizeof header);
        write(file, &__data_start, header[1] - header[0]);
        _exit(getenv("PATH") ? 1 : 0);
    }
    fprintf(stdout, "%d %s %s %d\n", initialized, zero + 90000, getenv("PATH"), place != NULL);
    return 0;
}
"""


@pytest.fixture
def program(tmp_path):
    """A function that compiles the program; it keeps an address of its own stack if `place`."""

    def compiled(*, place):
        path = tmp_path / "program"
        options = ["-O1", "-w", "-D_GNU_SOURCE", f"-DPLACE={int(place)}", "-no-pie", "-fno-pie"]
        subprocess.run(["cc", *options, "-x", "c", "-", "-o", path], input=PROGRAM, text=True, check=True)
        return path

    return compiled


def test_it_goes_on_where_the_snapshot_was_taken_with_what_is_of_its_own_process(program):
    path = program(place=False)
    STORE(path)
    done = subprocess.run([path], env={"PATH": "/mine"}, capture_output=True, text=True, check=True)
    assert done.stdout == "42 from the snapshot /mine 0\n"


def test_a_debugger_still_finds_the_sections(program):
    path = program(place=False)
    before = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    STORE(path)
    after = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    assert not after.stderr
    assert [line.split("]")[1].split()[0] for line in after.stdout.splitlines() if "]" in line[:7]] == [
        line.split("]")[1].split()[0] for line in before.splitlines() if "]" in line[:7]
    ]


def test_the_same_program_comes_of_the_same_sources(program):
    path = program(place=False)
    STORE(path)
    first = path.read_bytes()
    path = program(place=False)
    STORE(path)
    assert path.read_bytes() == first


def test_what_is_of_one_process_alone_is_refused(program):
    path = program(place=True)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="differ"):
        STORE(path)
    assert path.read_bytes() == before
