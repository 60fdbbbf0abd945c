"""Help and version are complete, short, and go to stdout."""

import json

import pytest

from pyruntime import SPEC_VERSION, __version__
from pyruntime.cli.main import main
from pyruntime.cli.options import GLOBAL_OPTIONS, VERBS, options_of


def output(capfd, *words, status=0):
    assert main(list(words)) == status
    written, errors = capfd.readouterr()
    assert errors == ""
    return written


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["h"]])
def test_the_page_on_the_program_names_every_verb_and_global_option(capfd, words):
    page = output(capfd, *words)
    for verb in VERBS.values():
        assert f"  {verb.name} " in page
        assert verb.summary in page
    for option in GLOBAL_OPTIONS:
        assert f"--{option.name}" in page


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_the_page_on_a_verb_names_every_option_of_it(capfd, verb):
    page = output(capfd, verb.name, "--help")
    assert page == output(capfd, "help", verb.name)
    assert f"Usage: pyruntime [OPTION...] {verb.name} [OPTION...] {verb.usage}".rstrip() in page
    for option in options_of(verb):
        assert f"--{option.name}" in page
        assert option.help in page


@pytest.mark.parametrize("words", [["--help"], *[[name, "--help"] for name in VERBS]])
def test_no_line_is_wider_than_a_usual_terminal(capfd, words):
    assert max(map(len, output(capfd, *words).splitlines())) <= 100


def test_help_on_an_unknown_verb_is_an_error(capfd):
    assert main(["help", "crate"]) == 3
    assert "did you mean `create`?" in capfd.readouterr().err


def test_the_version_is_what_callers_of_runc_take_apart(capfd):
    text = output(capfd, "--version")
    lines = text.splitlines()
    assert lines[0] == f"pyruntime version {__version__}"
    assert f"spec: {SPEC_VERSION}" in lines
    # dockerd takes the last line that holds the word for the version.
    assert text.count("version") == 1


def test_output_that_cannot_be_written_is_an_error(capfd, monkeypatch):
    from pyruntime.cli import output as module

    def full(*_):
        raise OSError(28, "")

    monkeypatch.setattr(module.os, "write", full)
    assert main(["--version"]) == 1


def test_the_version_is_the_packages(pytestconfig):
    text = (pytestconfig.rootpath / "setup.cfg").read_text()
    assert f"version = {__version__}\n" in text or "version = attr: pyruntime.__version__\n" in text


def test_state_is_printed_as_indented_json(capfd, monkeypatch):
    from pyruntime.cli.verbs import state as verb

    document = {"ociVersion": "1.3.0", "id": "é", "annotations": {}}
    monkeypatch.setattr(verb, "state", lambda root, container_id: document)
    assert output(capfd, "state", "x") == json.dumps(document, indent=2) + "\n"
