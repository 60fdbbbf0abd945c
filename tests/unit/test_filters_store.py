"""Compiled filters kept by content: found when all of it fits, and never an error."""

import os

import pytest

from pyruntime.engine.seccomp import cache as filters


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "library.so"
    path.write_text("one")
    return path


def test_what_was_saved_is_found(tmp_path, library):
    assert filters.load(str(tmp_path), b"key") == b""
    filters.save(str(tmp_path), b"key", str(library), b"program")
    assert filters.load(str(tmp_path), b"key") == b"program"
    assert filters.load(str(tmp_path), b"other") == b""


def test_a_key_with_the_same_checksum_does_not_find_it(tmp_path, library, monkeypatch):
    monkeypatch.setattr(filters, "_name", lambda key: "00")
    filters.save(str(tmp_path), b"key", str(library), b"program")
    assert filters.load(str(tmp_path), b"other") == b""
    filters.save(str(tmp_path), b"other", str(library), b"more")
    assert (filters.load(str(tmp_path), b"key"), filters.load(str(tmp_path), b"other")) == (b"", b"more")


def test_another_library_makes_it_unknown(tmp_path, library):
    filters.save(str(tmp_path), b"key", str(library), b"program")
    library.unlink()
    assert filters.load(str(tmp_path), b"key") == b""
    library.write_text("another")
    assert filters.load(str(tmp_path), b"key") == b""


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_a_file_that_is_not_whole_is_none(tmp_path, library, length):
    filters.save(str(tmp_path), b"key", str(library), b"program")
    (kept,) = (tmp_path / "~seccomp").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:length])
    assert filters.load(str(tmp_path), b"key") == b""
    kept.write_bytes(content + bytes(length + 1))
    assert filters.load(str(tmp_path), b"key") == b""


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o701])
def test_a_directory_that_others_can_use_is_not_used(tmp_path, library, mode):
    filters.save(str(tmp_path), b"key", str(library), b"program")
    (tmp_path / "~seccomp").chmod(mode)
    assert filters.load(str(tmp_path), b"key") == b""
    filters.save(str(tmp_path), b"key", str(library), b"replaced")
    (tmp_path / "~seccomp").chmod(0o700)
    assert filters.load(str(tmp_path), b"key") == b"program"


def test_links_are_not_followed(tmp_path, library):
    filters.save(str(tmp_path / "."), b"key", str(library), b"program")
    folder = tmp_path / "~seccomp"
    (kept,) = folder.iterdir()
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert filters.load(str(tmp_path), b"key") == b""
    filters.save(str(tmp_path), b"key", str(library), b"replaced")
    assert not kept.is_symlink()
    assert filters.load(str(tmp_path), b"key") == b"replaced"
    folder.rename(tmp_path / "folder")
    folder.symlink_to(tmp_path / "folder")
    assert filters.load(str(tmp_path), b"key") == b""


def test_a_fifo_in_its_place_holds_nobody_up(tmp_path, library):
    filters.save(str(tmp_path), b"key", str(library), b"program")
    (kept,) = (tmp_path / "~seccomp").iterdir()
    kept.unlink()
    os.mkfifo(kept)
    assert filters.load(str(tmp_path), b"key") == b""


@pytest.mark.parametrize("call", ["write", "unlink", "link"])
def test_a_writer_that_ends_half_way_leaves_nothing(tmp_path, library, monkeypatch, call):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    filters.save(str(tmp_path), b"key", str(library), b"program")
    monkeypatch.setattr(filters.os, call, kill, raising=False)
    with pytest.raises(Killed):
        filters.save(str(tmp_path), b"key", str(library), b"other")
    assert [path.name for path in (tmp_path / "~seccomp").iterdir() if not path.name.isdigit()] == []


def test_the_number_of_files_is_bounded_and_their_mode_private(tmp_path, library):
    for number in range(1000):
        filters.save(str(tmp_path), b"key %d" % number, str(library), b"program")
    kept = list((tmp_path / "~seccomp").iterdir())
    assert len(kept) <= 64
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, library):
    filters.save(str(tmp_path / "missing"), b"key", str(library), b"program")
    filters.save(str(tmp_path), b"key", str(tmp_path / "no library"), b"program")
    assert filters.load(str(tmp_path), b"key") == b""
