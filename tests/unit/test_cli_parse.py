"""The parser: what callers of runc write must be understood as runc understands it."""

import re

import pytest

from pyruntime.cli.options import GLOBAL_OPTIONS, VERBS, options_of
from pyruntime.cli.parse import UsageError, parse_global, parse_verb


def parse(*words):
    return parse_verb(*parse_global(list(words)))


def test_the_command_line_of_containerd_is_understood():
    line = parse(
        *("--root", "/run/r", "--log", "/l.json", "--log-format", "json", "--systemd-cgroup", "--rootless=true"),
        *("create", "--bundle", "/b", "--pid-file", "/b/init.pid", "--console-socket", "/c.sock"),
        *("--no-pivot", "--no-new-keyring", "--preserve-fds", "2", "abc"),
    )
    assert line.verb == "create"
    assert line.arguments == ["abc"]
    assert line.shared["root"] == "/run/r"
    assert line.shared["log"] == "/l.json"
    assert line.shared["log-format"] == "json"
    assert line.shared["systemd-cgroup"] is True
    assert line.shared["rootless"] == "true"
    assert line.options["bundle"] == "/b"
    assert line.options["pid-file"] == "/b/init.pid"
    assert line.options["console-socket"] == "/c.sock"
    assert line.options["no-pivot"] is True
    assert line.options["no-new-keyring"] is True
    assert line.options["preserve-fds"] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--bundle", "x"],
        ["--bundle=x"],
        ["-bundle", "x"],
        ["-bundle=x"],
        ["-b", "x"],
        ["-b=x"],
        ["--b", "x"],
        ["--bundle", "first", "--bundle", "x"],
    ],
)
def test_every_spelling_of_an_option_gives_its_value(words):
    assert parse("run", *words, "id").options["bundle"] == "x"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--force", True),
        ("-force", True),
        ("-f", True),
        ("--force=true", True),
        ("--force=1", True),
        ("--force=T", True),
        ("--force=false", False),
        ("--force=0", False),
        ("-f=F", False),
    ],
)
def test_flags_take_a_value_only_behind_an_equals_sign(word, value):
    line = parse("delete", word, "id")
    assert line.options["force"] is value
    assert line.arguments == ["id"]


def test_options_may_follow_the_container():
    line = parse("delete", "id", "--force")
    assert line.options["force"] is True
    assert line.arguments == ["id"]


def test_after_kill_and_the_container_nothing_is_an_option():
    assert parse("kill", "--all", "id", "-9").arguments == ["id", "-9"]
    assert parse("kill", "id", "--all").options["all"] is False


def test_two_dashes_end_the_options():
    line = parse("delete", "--", "--force")
    assert line.options["force"] is False
    assert line.arguments == ["--force"]


def test_a_single_dash_is_an_argument():
    assert parse("state", "-").arguments == ["-"]


def test_a_value_may_begin_with_a_dash_or_hold_an_equals_sign():
    assert parse("run", "--bundle", "-x", "id").options["bundle"] == "-x"
    assert parse("run", "--bundle=a=b", "id").options["bundle"] == "a=b"


def test_an_empty_value_means_the_default():
    line = parse("--log-format", "", "--rootless=", "run", "--bundle", "", "id")
    assert line.shared["log-format"] == "text"
    assert line.shared["rootless"] == "auto"
    assert line.options["bundle"] == ""


def test_an_empty_value_adds_nothing_to_a_list():
    options = parse("exec", "--cap=", "--env", "A=b", "--env=", "--env", "", "id", "sh").options
    assert (options["cap"], options["env"]) == ((), ("A=b",))


def test_no_words_ask_for_help():
    assert parse().verb == "help"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["h"], ["--debug", "--help", "run"]])
def test_help_on_the_program(words):
    line = parse(*words)
    assert (line.verb, line.arguments) == ("help", [])


@pytest.mark.parametrize("words", [["kill", "--help"], ["kill", "-h", "id"], ["help", "kill"]])
def test_help_on_a_verb_needs_none_of_its_arguments(words):
    line = parse(*words)
    assert (line.verb, line.arguments) == ("help", ["kill"])


@pytest.mark.parametrize("word", ["--version", "-v", "-version"])
def test_version(word):
    assert parse(word).verb == "version"


@pytest.mark.parametrize(
    ("words", "named", "advice"),
    [
        (["run", "--buncle", "x", "id"], "--buncle", "--bundle"),
        (["--forse", "delete"], "--forse", ""),
        (["run", "---bundle", "x", "id"], "---bundle", ""),
        (["run", "-=x", "id"], "-", ""),
        (["run", "--bundle"], "--bundle", "run --help"),
        (["delete", "--force=maybe", "id"], "--force=maybe", "delete --help"),
        (["run", "--preserve-fds", "-1", "id"], "--preserve-fds -1", "run --help"),
        (["run", "--preserve-fds=99999999999999999999", "id"], "--preserve-fds", "run --help"),
        (["--log-format", "xml", "state", "id"], "--log-format xml", "--help"),
        (["state"], "state takes ID", "state --help"),
        (["state", "a", "b"], "state takes only ID", "state --help"),
        (["kill", "a", "b", "c"], "kill takes only ID [SIGNAL]", "kill --help"),
        (["spec", "x"], "spec takes no arguments", "spec --help"),
    ],
)
def test_a_wrong_command_line_is_an_error_that_names_the_wrong_word(words, named, advice):
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert named in caught.value.doing
    assert advice in caught.value.advice
    assert caught.value.status == 1


@pytest.mark.parametrize(("word", "meant"), [("crate", "create"), ("stat", "state"), ("rum", "run")])
def test_an_unknown_verb_suggests_the_nearest_and_exits_as_runc_does(word, meant):
    with pytest.raises(UsageError) as caught:
        parse(word, "id")
    assert word in caught.value.doing
    assert f"`{meant}`" in caught.value.advice
    assert caught.value.status == 3


def test_the_global_options_are_read_before_the_verb_is_looked_at():
    shared, rest = parse_global(["--log", "/l", "nonsense", "--debug"])
    assert shared["log"] == "/l"
    assert shared["debug"] is False
    assert rest == ["nonsense", "--debug"]


def test_a_global_option_may_stand_behind_the_verb():
    line = parse("--log", "/l", "state", "--debug", "--root=/r", "id")
    assert line.shared["log"] == "/l"
    assert line.shared["debug"] is True
    assert line.shared["root"] == "/r"
    assert line.arguments == ["id"]


def test_an_option_of_the_verb_itself_comes_first():
    assert parse("list", "--format", "json").options["format"] == "json"


@pytest.mark.parametrize("verb", ["exec", "ps"])
def test_two_dashes_part_the_container_from_the_words_of_its_program(verb):
    assert parse(verb, "id", "--", "-ef", "--").arguments == ["id", "-ef", "--"]
    assert parse(verb, "id", "one", "--", "two").arguments == ["id", "one", "--", "two"]


def test_a_value_that_is_missing_is_told_of_in_runcs_words():
    with pytest.raises(UsageError) as caught:
        parse("restore", "--lsm-mount-context")
    assert str(caught.value).startswith("flag needs an argument: --lsm-mount-context")


def test_no_two_options_of_a_verb_share_a_name(subtests):
    for where, options in [("global", GLOBAL_OPTIONS), *((verb.name, options_of(verb)) for verb in VERBS.values())]:
        with subtests.test(where):
            names = [name for option in options for name in (option.name, option.short) if name]
            assert len(names) == len(set(names))


def test_every_option_says_what_it_does_and_what_its_value_is(subtests):
    for verb in VERBS.values():
        for option in (*GLOBAL_OPTIONS, *options_of(verb)):
            with subtests.test(verb=verb.name, option=option.name):
                assert option.help
                assert bool(option.metavar) == (option.kind != "flag")
                assert not option.choices or option.default in option.choices


def test_the_launcher_knows_the_global_options(pytestconfig, subtests):
    """It must find the verb before any Python runs, so it has a table of its own in C."""
    source = (pytestconfig.rootpath / "csrc/launcher/launcher.c").read_text()

    def table(name):
        text = re.search(rf"const {name}\[\] = {{(.*?)NULL}};", source, re.DOTALL)[1]
        return set(re.findall(r'"([^"]+)"', text))

    plain = {option for option in GLOBAL_OPTIONS if option.kind == "flag"}
    with subtests.test("options with a value"):
        assert table("VALUED") == {f"--{option.name}" for option in GLOBAL_OPTIONS if option.kind != "flag"}
    with subtests.test("flags"):
        names = {f"--{option.name}" for option in plain} | {f"-{option.short}" for option in plain if option.short}
        assert table("PLAIN") == names
    with subtests.test("verbs that enter a container run sealed"):
        assert not table("OUTSIDE") & {"create", "run", "exec", "restore"}
