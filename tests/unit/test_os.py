"""pyruntime.base.lean_os: what stands in for `os` does the same."""

import os
import subprocess
import sys

import pytest

from pyruntime.base import lean_os as ours

PATHS = ["", "/", "//", "a", "a/", "/a", "/a/", "a/b", "/a/b/c", "a//b", "/a//", "../a", "/..", "./.", "/a/./b/../c"]


@pytest.mark.parametrize("name", PATHS)
def test_paths_are_taken_apart_and_put_together_as_by_os_path(name):
    assert ours.path.split(name) == os.path.split(name)
    assert (ours.path.dirname(name), ours.path.basename(name)) == (os.path.dirname(name), os.path.basename(name))
    for other in PATHS:
        assert ours.path.join(name, other) == os.path.join(name, other)


@pytest.mark.parametrize("name", PATHS)
def test_an_absolute_path_is_that_of_os_path_with_one_slash_in_front(name):
    assert ours.path.abspath(name) == "/" + os.path.abspath(name).lstrip("/")


def test_names_that_are_not_utf_8_survive():
    for raw in (b"caf\xe9", b"caf\xc3\xa9", b""):
        assert ours.fsdecode(raw) == os.fsdecode(raw)
        assert ours.fsencode(ours.fsdecode(raw)) == raw


def test_what_is_there_is_told_apart(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in (tmp_path, tmp_path / "file", tmp_path / "link", tmp_path / "none", tmp_path / "a\0b"):
        for question in ("exists", "lexists", "isdir"):
            assert getattr(ours.path, question)(str(name)) == getattr(os.path, question)(name), (question, name)


def test_directories_are_made_with_those_above_them(tmp_path):
    path = str(tmp_path / "a/b/c")
    ours.makedirs(path, 0o700)
    assert os.stat(path).st_mode & 0o777 == 0o700
    ours.makedirs(path, exist_ok=True)
    with pytest.raises(FileExistsError):
        ours.makedirs(path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        ours.makedirs(str(tmp_path / "file"), exist_ok=True)


def test_the_environment_is_the_one_the_program_has_changed(monkeypatch):
    monkeypatch.setenv("PYRUNTIME_TEST", "1")
    assert ours.environ["PYRUNTIME_TEST"] == "1"


def test_by_itself_it_has_the_environment_and_does_not_import_os():
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.dirname(ours.__file__)))!r})\n"
        "from pyruntime.base import lean_os as os\n"
        "assert (os.environ['A'], os.environ['B']) == ('1', 'caf\\udce9'), os.environ\n"
        "assert 'os' not in sys.modules\n"
        "assert os.walk and os.path.realpath\n"
    )
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", program]
    subprocess.run(command, check=True, env={b"A": b"1", b"B": b"caf\xe9"})
