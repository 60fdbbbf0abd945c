"""Completions and man pages: each verb and option is in them, and the shells take them."""

import os
import pty
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


# What an interactive shell is told first; ^G writes its command line to $OUT, and clears it.
SHELLS = {
    "bash": (
        ["--norc", "--noprofile", "-i"],
        "source $SHARE/bash-completion/completions/pyruntime; "
        """bind -x '"\\C-g": printf %s "$READLINE_LINE" >$OUT; READLINE_LINE='""",
    ),
    "zsh": (
        ["-f", "-i"],
        "fpath=($SHARE/zsh/site-functions $fpath); autoload -U compinit; compinit -D -u; "
        "dump() { print -rn -- $BUFFER >$OUT; BUFFER= }; zle -N dump; bindkey '^G' dump",
    ),
}
# What is typed before Tab -> what stands there then. Below --root /run/x there is the container "first".
TYPED = {
    "pyruntime pau": "pyruntime pause ",
    "pyruntime kill ": "pyruntime kill usual ",
    "pyruntime --root /run/x kill ": "pyruntime --root /run/x kill first ",
    "pyruntime --root=/run/x kill ": "pyruntime --root=/run/x kill first ",
    "pyruntime --debug --root /run/x delete -f ": "pyruntime --debug --root /run/x delete -f first ",
    "pyruntime --log x --root /run/x exec --cwd / ": "pyruntime --log x --root /run/x exec --cwd / first ",
    "pyruntime kill web KI": "pyruntime kill web KILL ",
    "pyruntime kill --all web KI": "pyruntime kill --all web KILL ",
    "pyruntime explain /process/cw": "pyruntime explain /process/cwd ",
    "pyruntime explain config.md#root/req": "pyruntime explain config.md#root/required ",
    "pyruntime --log-format j": "pyruntime --log-format json ",
    "pyruntime --log-format=j": "pyruntime --log-format=json ",
    "pyruntime list -f js": "pyruntime list -f json ",
}


@pytest.fixture
def surroundings(pages, tmp_path):
    """Return the environment of a shell: completions, a program that lists containers, and no files of a user."""
    program = tmp_path / "bin/pyruntime"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$*" = "--root /run/x list --quiet" ] && echo first || echo usual\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "TERM": "dumb", "LANG": "C.UTF-8", "SHARE": str(pages)}


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("shell", SHELLS)
def test_an_interactive_shell_completes(surroundings, tmp_path, shell, typed):
    if not shutil.which(shell):
        pytest.skip(f"this host has no {shell}")
    options, setup = SHELLS[shell]
    master, slave = pty.openpty()
    with subprocess.Popen(
        [shell, *options],
        **dict.fromkeys(("stdin", "stdout", "stderr"), slave),
        env={**surroundings, "OUT": f"{tmp_path}/line"},
        start_new_session=True,
    ) as process:
        os.close(slave)
        os.write(master, f"{setup}\n{typed}\t\aexit\n".encode())
        try:
            while os.read(master, 65536):
                pass
        except OSError:  # EIO: the shell has exited
            pass
        process.wait()
    os.close(master)
    assert (tmp_path / "line").read_text().replace("\\", "") == TYPED[typed]


@pytest.mark.parametrize("typed", TYPED)
def test_fish_completes(surroundings, typed):
    if not shutil.which("fish"):
        pytest.skip("this host has no fish")
    script = f"source $SHARE/fish/vendor_completions.d/pyruntime.fish; complete -C '{typed}'"
    done = subprocess.run(["fish", "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    offered = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert offered == {TYPED[typed].split()[-1]}
    assert done.stderr == ""


def test_fish_offers_signals_after_the_id_alone(surroundings):
    if not shutil.which("fish"):
        pytest.skip("this host has no fish")
    script = "source $SHARE/fish/vendor_completions.d/pyruntime.fish; complete -C 'pyruntime kill web '"
    done = subprocess.run(["fish", "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    offered = done.stdout.split()
    assert "KILL" in offered
    assert "usual" not in offered
