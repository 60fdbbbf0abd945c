"""The directory in which states are kept, for each kind of caller."""

import stat

import pytest

from pyruntime.base.errors import Error
from pyruntime.cli import state_root


@pytest.fixture
def user(monkeypatch, tmp_path):
    """An ordinary user with a runtime directory of his own."""
    monkeypatch.setattr(state_root.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_root_keeps_states_below_run(monkeypatch, tmp_path):
    monkeypatch.setattr(state_root.os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("USER", "root")
    assert state_root.state_root("") == "/run/pyruntime"
    assert not list(tmp_path.iterdir())


def test_a_user_keeps_states_in_his_runtime_directory_for_himself(user):
    assert state_root.state_root("") == str(user / "pyruntime")
    assert stat.S_IMODE((user / "pyruntime").stat().st_mode) == 0o1700


def test_a_user_without_a_runtime_directory_has_the_same_default_as_root(user, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert state_root.state_root("") == "/run/pyruntime"


def test_the_option_wins_and_is_made_absolute(user, monkeypatch):
    monkeypatch.chdir(user)
    assert state_root.state_root("a/../b") == str(user / "b")
    assert not list(user.iterdir())


@pytest.mark.parametrize("path", ["/", "/..", "//", "/tmp/.."])
def test_the_root_directory_is_refused(path):
    with pytest.raises(Error):
        state_root.state_root(path)


def test_a_runtime_directory_that_cannot_be_used_is_an_error_that_names_it(user, monkeypatch):
    (user / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(user / "file"))
    with pytest.raises(Error) as caught:
        state_root.state_root("")
    assert str(user / "file") in caught.value.doing
