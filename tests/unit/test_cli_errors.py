"""What is printed, logged and returned when something is wrong."""

import datetime
import json
import os
import re

import pytest

from pyruntime.base import log
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.cli import main as program
from pyruntime.cli.error_text import for_a_log, for_people

MOUNT = {"destination": "/data", "type": "bind", "source": "/srv/data"}
FULL = Error(
    "cannot mount /data",
    pointer="/mounts/7",
    value=MOUNT,
    clause="config.md#mounts",
    step="23 open_tree(/srv/data, recursive)",
    errno=2,
    advice="make the directory first",
    log="bind: first line\nsecond line",
)


@pytest.fixture(autouse=True)
def plain_log():
    log.configure("", "text", False)
    yield
    if log.goes_to_file():
        os.close(log._log.fd)
    log._log.fd = log.STDERR
    log.configure("", "text", False)


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes the next command line fail with an exception."""

    def fail(error):
        def raising(*_):
            raise error

        monkeypatch.setattr(program, "parse_verb", raising)

    return fail


def test_an_error_is_explained_line_by_line():
    assert for_people(FULL, "create").splitlines() == [
        "pyruntime: error: create: cannot mount /data: ENOENT: no such file or directory",
        '  config.json    /mounts/7  {"destination": "/data", "type": "bind", "source": "/srv/data"}',
        "  step           23 open_tree(/srv/data, recursive)",
        "  kernel         ENOENT: no such file or directory",
        "  kernel's log   bind: first line",
        "                 second line",
        "  spec           config.md#mounts",
        "  advice         make the directory first",
    ]


def test_an_error_of_which_little_is_known_is_one_line():
    assert for_people(Error("cannot read x", errno=13), "state") == (
        "pyruntime: error: state: cannot read x: EACCES: permission denied\n"
    )


def test_a_long_value_is_shortened():
    text = for_people(Error("x", pointer="/a", value=["y" * 1000]), "create")
    assert len(text.splitlines()[1]) < 300
    assert "…" in text


def test_every_problem_of_a_configuration_is_listed():
    problems = [Error(f"problem {index}", pointer=f"/p/{index}", clause="config.md#x") for index in range(50)]
    text = for_people(InvalidConfig("config.json is not valid", problems), "validate")
    assert text.startswith("pyruntime: error: validate: config.json is not valid: 50 errors\n")
    for index in range(50):
        assert f"  problem {index}\n    config.json    /p/{index}\n    spec           config.md#x\n" in text


def test_in_a_log_an_error_is_one_line():
    problems = [Error(f"problem\n{index}", pointer=f"/p/{index}") for index in range(50)]
    for error in (FULL, InvalidConfig("config.json is not valid", problems)):
        assert "\n" not in for_a_log(error, "create")
    text = for_a_log(InvalidConfig("config.json is not valid", problems), "create")
    assert "problem 0 (/p/0); problem 1 (/p/1)" in text
    assert text.endswith("and 30 more")


def test_an_error_goes_to_stderr_and_the_exit_status_is_1(failing, capfd):
    failing(Error("cannot do it"))
    assert program.main(["state", "x"]) == 1
    assert capfd.readouterr() == ("", "pyruntime: error: state: cannot do it\n")


def test_with_a_log_file_the_error_is_in_both(failing, capfd, tmp_path):
    failing(FULL)
    path = tmp_path / "log"
    path.write_text("before\n")
    assert program.main(["--log", str(path), "--log-format", "json", "create", "x"]) == 1
    assert capfd.readouterr().err == for_people(FULL, "create")
    before, line = path.read_text().splitlines()
    assert before == "before"
    entry = json.loads(line)
    assert set(entry) == {"level", "msg", "time"}
    assert entry["level"] == "error"
    assert entry["msg"] == for_a_log(FULL, "create")


def test_json_without_a_log_file_keeps_stderr_machine_readable(failing, capfd):
    failing(FULL)
    assert program.main(["--log-format", "json", "create", "x"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert [json.loads(line)["level"] for line in lines] == ["error"]


def test_the_time_is_rfc3339_with_a_zone(tmp_path):
    path = tmp_path / "log"
    log.configure(str(path), "json", False)
    earliest = datetime.datetime.now(datetime.timezone.utc)
    log.warning("x")
    latest = datetime.datetime.now(datetime.timezone.utc)
    text = json.loads(path.read_text())["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    written = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert earliest <= written + datetime.timedelta(microseconds=1)
    assert written <= latest


def test_a_text_log_quotes_its_message(tmp_path):
    path = tmp_path / "log"
    log.configure(str(path), "text", False)
    log.error('a "b" \\ c\nd')
    assert re.fullmatch(r'time="[^"]+" level=error msg="a \\"b\\" \\\\ c\\nd"\n', path.read_text())


@pytest.mark.parametrize("form", ["json", "text"])
def test_bytes_that_are_not_utf8_reach_the_log(tmp_path, form):
    path = tmp_path / "log"
    log.configure(str(path), form, False)
    log.error(os.fsdecode(b"path \xff end"))
    assert path.read_bytes().count(b"\n") == 1
    assert b" end" in path.read_bytes()


def test_debug_lines_are_written_only_with_debug(tmp_path):
    path = tmp_path / "log"
    log.configure(str(path), "json", False)
    log.debug("quiet")
    log.configure(str(path), "json", True)
    log.debug("loud")
    assert [json.loads(line)["msg"] for line in path.read_text().splitlines()] == ["loud"]


def test_a_log_that_cannot_be_opened_is_an_error(capfd, tmp_path):
    assert program.main(["--log", str(tmp_path / "no" / "log"), "state", "x"]) == 1
    assert "cannot open the log" in capfd.readouterr().err


def test_a_usage_error_reaches_the_log_too(capfd, tmp_path):
    path = tmp_path / "log"
    assert program.main(["--log", str(path), "--log-format", "json", "crate", "x"]) == 3
    assert "unknown verb 'crate'" in json.loads(path.read_text())["msg"]
    assert "did you mean `create`?" in capfd.readouterr().err


def test_an_unforeseen_exception_is_an_internal_error_without_a_traceback(failing, capfd):
    failing(ZeroDivisionError("oops"))
    assert program.main(["state", "x"]) == 1
    text = capfd.readouterr().err
    assert text.startswith("pyruntime: error: state: internal error: ZeroDivisionError: oops\n")
    assert "Traceback" not in text


def test_with_debug_an_unforeseen_exception_shows_its_traceback(failing, capfd):
    failing(ZeroDivisionError("oops"))
    assert program.main(["--debug", "state", "x"]) == 1
    text = capfd.readouterr().err
    assert "Traceback" in text
    assert "test_cli_errors.py" in text


def test_an_interrupt_is_no_error_of_ours(failing, capfd):
    failing(KeyboardInterrupt())
    assert program.main(["state", "x"]) == 130
    assert capfd.readouterr() == ("", "")
