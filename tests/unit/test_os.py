"""pyruntime.base.lean_os: what stands in for `os` does the same."""

import ast
import errno
import fcntl
import os
import posix
import subprocess
import sys
from pathlib import Path

import pytest

from pyruntime.base import lean_os as ours
from pyruntime.base.errors import Error

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


# ---- A system call that fails ----


def test_a_system_call_that_fails_names_itself_and_is_both_kinds_of_error(tmp_path):
    missing = str(tmp_path / "missing")
    for call in ("open", "stat", "unlink", "rmdir", "listdir", "readlink"):
        with pytest.raises(FileNotFoundError) as caught:
            getattr(ours, call)(missing, *([os.O_RDONLY] if call == "open" else []))
        error = caught.value
        assert isinstance(error, Error)
        assert (error.errno, error.filename, error.step) == (errno.ENOENT, missing, f"{call}({missing})")
        assert str(error) == f"{call}({missing}) failed: ENOENT: no such file or directory"


def test_a_call_on_a_descriptor_names_the_descriptor():
    for call, arguments in (("read", (1,)), ("write", (b"x",)), ("fstat", ()), ("close", ())):
        with pytest.raises(Error) as caught:
            getattr(ours, call)(123456, *arguments)
        assert caught.value.step == f"{call}(123456)" and caught.value.errno == errno.EBADF


def test_a_call_of_another_module_names_itself_too():
    with pytest.raises(Error) as caught:
        ours.call(fcntl.fcntl, 123456, fcntl.F_GETFD)
    assert isinstance(caught.value, OSError) and caught.value.step == "fcntl(123456)"


def test_what_cannot_be_looked_at_is_not_taken_for_absent(monkeypatch):
    def fails(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(posix, "stat", fails)
    for question in ("exists", "lexists", "isdir"):
        with pytest.raises(Error) as caught:
            getattr(ours.path, question)("/somewhere")
        assert caught.value.errno == errno.EIO


def test_an_interrupted_close_is_done(monkeypatch):
    def interrupted(fd):
        raise InterruptedError(errno.EINTR, "Interrupted system call")

    monkeypatch.setattr(posix, "close", interrupted)
    ours.close(3)


# What raises OSError by itself, and is therefore called by `lean_os.call`.
SYSTEM_CALLS = {"fcntl": {"fcntl", "flock", "ioctl", "lockf"}, "poll": {"poll"}, "termios": {"tcgetattr", "tcsetattr"}}
SYSTEM_CALLS["_thread"] = {"start_new_thread"}


def test_every_system_call_of_a_verb_passes_where_it_is_named():
    """By construction: modules take `os` from here, and calls of other modules go through `call`."""
    package = Path(ours.__file__).parents[1]
    # Which are below it, or read documents that ship with the package or a checked out specification;
    # and the sandbox, which starts the program and has errors of its own.
    apart = {
        "base/errors.py",
        "base/lean_os.py",
        "startup/embedded.py",
        "spec/clauses",
        "sandbox",
    }
    found = []
    for file in sorted(package.rglob("*.py")):
        name = str(file.relative_to(package))
        if any(name.startswith(place) for place in apart):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names) if {"os", "posix"} & {alias.name for alias in names}:
                    found.append(f"{name}:{node.lineno}: import os")
                case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=call)):
                    if call in SYSTEM_CALLS.get(module, ()):
                        found.append(f"{name}:{node.lineno}: {module}.{call}")
    assert found == []


def test_a_thread_that_ends_before_its_first_line_is_an_error(monkeypatch):
    """As CPython ends it where the memory for its first frame is missing: it tells the hook alone."""
    import _thread

    before = sys.unraisablehook
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, arguments: sys.unraisablehook(function))
    with pytest.raises(Error, match="cannot start a thread: out of memory"):
        ours.start_thread(print)
    assert sys.unraisablehook is before


def test_a_directory_that_cannot_be_made_is_given_up():
    """procfs says ENOENT for what it does not let anybody make, whether the directory above is there or not."""
    with pytest.raises(FileNotFoundError):
        ours.makedirs("/proc/nothing/below", exist_ok=True)
