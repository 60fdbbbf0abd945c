"""Functions that run in a process of the interpreter's own, because the program cannot load extension modules."""

import contextlib
import os
import re
import signal
import sys
import types
from pathlib import Path

import pytest

import pyruntime
from pyruntime import spec
from pyruntime.base import interpreter
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.engine.network import devices
from pyruntime.plan import net_devices

# Takes the place of a module of the package: what the functions do is in the other process.
MODULE = """
import ctypes, os, signal, sys, time
from pyruntime.base.errors import Error

def double(value, number=None):
    return [value, value] if number is None else [value, os.fstat(number).st_ino]

def surroundings():
    return [dict(os.environ), sys.flags.isolated, sys.flags.no_site]

def refuse(text):
    print("not undone", file=sys.stderr)
    more = {"value": [1, None], "clause": "config.md#root", "errno": 2, "step": "x()"}
    raise Error("cannot do it", "no reason", pointer="/a/b", **more)

def lack():
    import no_such_module

def fail():
    os.kill(os.getpid(), signal.SIGKILL)

def hang():
    caller = os.getppid()
    ctypes.CDLL(None).tgkill(caller, caller, signal.SIGTERM)  # not another thread, which may not block it
    time.sleep(1000)

def break_down():
    raise RuntimeError("words of the fault")
"""


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """The package as the program has it: with a launcher, and in the last directory of the search path."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "pyruntime").symlink_to(Path(pyruntime.__file__).parent)
    (tmp_path / "path").mkdir()
    code = tmp_path / "path/example.py"
    code.write_text(MODULE)
    launcher = types.SimpleNamespace(interpreter=lambda: sys.executable, library=lambda: os.path.dirname(os.__file__))
    monkeypatch.setitem(sys.modules, "_launcher", launcher)
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    monkeypatch.setattr(interpreter, "_CODE", f"import sys; sys.path.append({str(code.parent)!r}); {interpreter._CODE}")
    return launcher


@pytest.fixture
def call(apart, monkeypatch):
    """`interpreter.call` of a function of MODULE."""
    monkeypatch.setattr(
        interpreter,
        "_CODE",
        interpreter._CODE.replace(
            "; answer()", "; import example; sys.modules['pyruntime.example'] = example; answer()"
        ),
    )
    return lambda function, *arguments, **options: interpreter.call("example", function, *arguments, **options)


# What JSON has, and what it has not.
VALUES = [None, True, -(10**30), 0.5, float("inf"), "\udc80é", b"\xff", [], {"a": [{"b": ()}]}, "x" * (1 << 20)]


@pytest.mark.parametrize("value", VALUES, ids=[str(number) for number in range(len(VALUES))])
def test_the_result_is_that_of_the_function(call, value):
    assert call("double", value) == [value, value]


def test_it_gets_the_descriptor_and_no_environment(call, tmp_path):
    with (tmp_path / "file").open("w") as file:
        assert call("double", 1, descriptor=file.fileno()) == [1, os.fstat(file.fileno()).st_ino]
    environment, isolated, no_site = call("surroundings")
    assert "PATH" not in environment
    assert (isolated, no_site) == (1, 1)


def test_an_error_is_the_same_here_with_what_was_printed(call):
    with pytest.raises(Error) as refusal:
        call("refuse", "text")
    error = refusal.value
    assert (error.doing, error.reason, error.pointer, error.value) == ("cannot do it", "no reason", "/a/b", [1, None])
    assert (error.clause, error.errno, error.step, error.log) == ("config.md#root", 2, "x()", "not undone")


def test_a_module_that_is_missing_is_missing_here(call):
    with pytest.raises(ImportError) as refusal:
        call("lack")
    assert refusal.value.name == "no_such_module"


@pytest.mark.parametrize(("function", "status", "words"), [("fail", -9, ""), ("break_down", 1, "words of the fault")])
def test_a_process_that_fails_is_an_error_with_its_words(call, function, status, words):
    with pytest.raises(Error) as refusal:
        call(function)
    assert f"status {status}" in refusal.value.reason
    assert words in refusal.value.log


def test_a_blocked_signal_ends_a_process_that_hangs(call):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with pytest.raises(Error, match="signal 15 came"):
            call("hang")
        assert signal.sigtimedwait([signal.SIGTERM], 0) is not None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_no_interpreter_is_an_error_that_names_it(apart):
    apart.interpreter = lambda: None
    with pytest.raises(Error, match=rf"cannot run python3\.{sys.version_info[1]}"):
        interpreter.call("spec.schema_errors", "first", "config", "", {})


@pytest.mark.parametrize("path", [None, "/bin/false"])
def test_a_wrong_document_is_named_though_nobody_can_say_more(apart, monkeypatch, path):
    apart.interpreter = lambda: path
    monkeypatch.setattr(interpreter, "is_apart", lambda: True)
    with pytest.raises(InvalidConfig) as refusal:
        spec.check_process({"cwd": 3, "args": []})
    (problem,) = refusal.value.problems
    assert problem.doing == "it breaks the schema"
    assert "cannot run" in problem.reason


def test_an_error_of_the_interpreter_has_its_place_for_network_devices(apart, monkeypatch):
    apart.interpreter = lambda: None
    monkeypatch.setattr(interpreter, "is_apart", lambda: True)
    with pytest.raises(Error) as refusal:
        devices._call(devices.transfer, [], 0)
    assert (refusal.value.pointer, refusal.value.clause) == (net_devices.POINTER, net_devices.CLAUSE)


def test_the_findings_of_a_document_are_those_of_this_process(apart):
    from pyruntime.spec import schema_errors

    document = {"ociVersion": 1, "process": {"cwd": "", "args": []}, "mounts": [{"destination": None}]}
    sys.path[-1] = str(Path(pyruntime.__file__).parents[1])  # jsonschema is beside the package
    here = [interpreter.packed(error) for error in schema_errors.findings("config", "", document)]
    assert len(here) > 2
    assert interpreter.call("spec.schema_errors", "first", "config", "", document) == here


def test_no_descriptor_and_no_process_stays(call):
    def held():
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {*_calls_descriptors(), *(f"process {child}" for child in children)}

    before = held()
    for function in ("refuse", "fail", "double"):
        try:
            call(function, 1) if function != "fail" else call(function)
        except Error:
            pass
    assert held() <= before


def _calls_descriptors():
    """Numbers of this process's descriptors of the kinds that a call opens; other threads may open others meanwhile."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if re.search("memfd:pyruntime|pidfd", os.readlink(f"/proc/self/fd/{number}")):
                yield number
