"""Completions and man pages: each verb and option is in them, and the shells take them."""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from pyruntime.cli.examples import EXAMPLES
from pyruntime.cli.options import GLOBAL_OPTIONS, VERBS, options_of
from pyruntime.cli.parse import parse_global, parse_verb

GENERATOR = Path(__file__).parents[2] / "generate/share.py"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("share")
    for path, content in runpy.run_path(str(GENERATOR))["pages"]():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content)
    return directory


@pytest.mark.parametrize(
    "path",
    [
        "bash-completion/completions/pyruntime",
        "zsh/site-functions/_pyruntime",
        "fish/vendor_completions.d/pyruntime.fish",
    ],
)
def test_each_verb_and_option_is_completed(pages, path):
    text = (pages / path).read_text()
    for verb in VERBS.values():
        assert verb.name in text
        for option in (*GLOBAL_OPTIONS, *options_of(verb)):
            assert (f"-l {option.name}" if path.endswith("fish") else f"--{option.name}") in text


def test_each_verb_has_a_man_page_with_its_options(pages):
    for verb in VERBS.values():
        text = (pages / f"man/man8/pyruntime-{verb.name}.8").read_text().replace("\\-", "-")
        assert f"pyruntime-{verb.name}" in text
        for option in options_of(verb):
            assert f"\\fB--{option.name}\\fR" in text
    text = (pages / "man/man8/pyruntime.8").read_text().replace("\\-", "-")
    for name in (*(option.name for option in GLOBAL_OPTIONS), *VERBS):
        assert name in text


def test_each_verb_has_examples_that_parse_and_its_exit_statuses(pages, subtests):
    assert EXAMPLES.keys() == VERBS.keys()
    for name in VERBS:
        text = (pages / f"man/man8/pyruntime-{name}.8").read_text().replace("\\-", "-")
        assert ".SH EXAMPLES" in text and ".SH EXIT STATUS" in text
        for command, _ in EXAMPLES[name]:
            with subtests.test(command):
                shared, words = parse_global(command.split())
                assert parse_verb(shared, words).verb == name
                assert f"pyruntime {command}" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pau"], {"pause"}),
        (["--root", "/run/x", "re"], {"resume", "restore"} & set(VERBS)),
        (["exec", "--app"], {"--apparmor"}),
        (["list", "-f", ""], {"table", "json"}),
        (["--log-format", "j"], {"json"}),
        (["help", "upd"], {"update"}),
        (["kill", "web", "KI"], {"KILL"}),
        (["explain", "/process/cw"], {"/process/cwd"}),
        (
            ["explain", "config.md#root/r"],
            {"config.md#root/required", "config.md#root/readonly", "config.md#root/readonly-windows"},
        ),
    ],
)
def test_bash_completes(pages, words, expected):
    script = (
        f"source {pages}/bash-completion/completions/pyruntime\n"
        'COMP_WORDS=(pyruntime "$@"); COMP_CWORD=$#; _pyruntime; echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""


def test_bash_completes_the_ids_below_the_root(pages, tmp_path):
    program = tmp_path / "pyruntime"
    program.write_text('#!/bin/sh\n[ "$*" = "--root /run/x list --quiet" ] && echo first; echo second\n')
    program.chmod(0o755)
    script = (
        f"PATH={tmp_path}:$PATH; source {pages}/bash-completion/completions/pyruntime\n"
        'COMP_WORDS=(pyruntime --root /run/x kill ""); COMP_CWORD=4; _pyruntime; echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["first", "second"]


@pytest.mark.parametrize(
    ("shell", "path"), [("zsh", "zsh/site-functions/_pyruntime"), ("fish", "fish/vendor_completions.d/pyruntime.fish")]
)
def test_other_shells_can_read_theirs(pages, shell, path):
    if shutil.which(shell):  # whoever has none of it needs none
        subprocess.run([shell, "-n", pages / path], check=True)
