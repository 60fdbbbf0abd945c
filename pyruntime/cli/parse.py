"""The parser of the command line, with the semantics on which callers of runc rely.

Options are read as Go's `flag` package reads them: one dash or two, `--name value` or `--name=value`, flags without a
value or as `--flag=false`; `--` ends them. Global options stand before the verb or behind it. A verb's options may
follow its arguments, except where an argument may begin with a dash.
"""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.cli.options import FLAG, GLOBAL_OPTIONS, LIST, NUMBER, VERBS, Option, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Values = dict[str, Any]

# What Go's strconv.ParseBool takes.
_TRUTH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class UsageError(Error):
    """A command line that cannot be understood; `status` is what the program exits with, as runc does."""

    def __init__(self, doing: str, reason: str = "", *, advice: str = "", status: int = 1) -> None:
        super().__init__(doing, reason, advice=advice)
        self.status = status


class CommandLine:
    """A command line that was understood.

    verb       the verb, "help" when there is none, "version" for --version
    options    value by name of each option of the verb, defaults included
    shared     value by name of each global option, defaults included
    arguments  the words that are not options
    """

    __slots__ = ("arguments", "options", "shared", "verb")

    def __init__(self, verb: str, shared: "Values", options: "Values", arguments: list[str]) -> None:
        self.verb = verb
        self.shared = shared
        self.options = options
        self.arguments = arguments


def parse_global(words: list[str]) -> "tuple[Values, list[str]]":
    """Read the global options; return their values and the words from the verb on.

    This comes first and alone, so that --log is known when the rest turns out to be wrong. Raises UsageError.
    """
    values = {option.name: option.default for option in GLOBAL_OPTIONS}
    _, rest = _read(words, GLOBAL_OPTIONS, values, "", greedy=True)
    return values, rest


def parse_verb(shared: "Values", words: list[str]) -> CommandLine:
    """Read the verb and what follows it; `shared` holds the global options. Raises UsageError.

    Upholds runtime.md#query-state/id-needed, runtime.md#create/arguments-needed, runtime.md#start/id-needed,
    runtime.md#kill/id-needed, runtime.md#delete/id-needed.
    """
    if shared["version"]:
        return CommandLine("version", shared, {}, [])
    if shared["help"] or not words:
        return CommandLine("help", shared, {}, [])
    name = "help" if words[0] == "h" else words[0]
    verb = VERBS.get(name)
    if verb is None:
        raise unknown_verb(words[0])
    options = options_of(verb)
    values = {option.name: option.default for option in options}
    arguments, rest = _read(words[1:], options, values, name, verb.greedy, shared)
    if verb.greedy and rest[1:2] == ["--"]:
        del rest[1]  # between the container and the words for its program, as with runc since 1.5
    arguments += rest
    if values["help"]:
        return CommandLine("help", shared, {}, [name])
    fewest, most = verb.arguments
    if not fewest <= len(arguments) <= most:
        wanted = "no arguments" if most == 0 else f"{'only ' if len(arguments) > most else ''}{verb.usage}"
        given = f"{len(arguments)} arguments" if len(arguments) != 1 else "1 argument"
        raise UsageError(f"{name} takes {wanted}", f"{given} given", advice=_see_help(name))
    return CommandLine(name, shared, values, arguments)


def unknown_verb(word: str) -> UsageError:
    """Return the error for a verb that is not there; runc exits with 3 then."""
    return UsageError(f"unknown verb {word!r}", advice=_suggest(word, VERBS), status=3)


def _read(
    words: list[str],
    options: tuple[Option, ...],
    values: "Values",
    verb: str,
    greedy: bool,
    shared: "Values | None" = None,
) -> tuple[list[str], list[str]]:
    """Read options and set their values, those of `shared` for a global option behind the verb.

    Returns the arguments found among them, and the words left unread: with `greedy` those from the first argument
    on, otherwise those after `--`.
    """
    arguments: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        if len(word) < 2 or word[0] != "-":
            if greedy:
                break
            arguments.append(word)
            index += 1
            continue
        index += 1
        if word == "--":
            break
        name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
        option, target = _find(name, options), values
        if option is None and shared is not None:
            option, target = _find(name, GLOBAL_OPTIONS), shared
        if option is None:
            raise _unknown(word, name, options, verb)
        if option.kind == FLAG:
            target[option.name] = _truth(option, text, verb) if equals else True
            continue
        if not equals:
            if index == len(words):
                # Podman looks for runc's words, to find out whether there is such an option.
                raise UsageError(f"flag needs an argument: --{option.name}", advice=_see_help(verb))
            text = words[index]
            index += 1
        value = _value(option, text, verb)
        if option.kind == LIST:
            value = (*target[option.name], value) if text else target[option.name]
        target[option.name] = value
    return arguments, words[index:]


def _find(name: str, options: tuple[Option, ...]) -> Option | None:
    """Return the option whose long or short name is `name`."""
    for option in options:
        if name and name in (option.name, option.short):
            return option
    return None


def _unknown(word: str, name: str, options: tuple[Option, ...], verb: str) -> UsageError:
    """Return the error for the option `word` that is not among `options`."""
    advice = _suggest(name, [option.name for option in options], "--") or _see_help(verb)
    return UsageError(f"unknown option {word.partition('=')[0]}", advice=advice)


def _truth(option: Option, text: str, verb: str) -> bool:
    """Return the truth value that `text` is."""
    if text not in _TRUTH:
        raise UsageError(f"--{option.name}={text}", "the value must be true or false", advice=_see_help(verb))
    return _TRUTH[text]


def _value(option: Option, text: str, verb: str) -> "Any":
    """Return the value that `text` is for `option`, which is not a flag."""
    if option.kind == NUMBER:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise UsageError(f"--{option.name} {text}", "the value must be a number from 0", advice=_see_help(verb))
        return int(text)
    # An empty value means the default, as with runc: callers pass variables that may be empty.
    if not text:
        return option.default
    if option.choices and text not in option.choices:
        allowed = ", ".join(option.choices[:-1]) + " or " + option.choices[-1]
        raise UsageError(f"--{option.name} {text}", f"the value must be {allowed}", advice=_see_help(verb))
    return text


def _see_help(verb: str) -> str:
    return f"see `pyruntime {verb} --help`" if verb else "see `pyruntime --help`"


def _suggest(word: str, known: "Iterable[str]", dashes: str = "") -> str:
    """Return a hint at the known word nearest to `word`, or nothing."""
    near = pyruntime.base.similar.nearest(word, known)
    if near:
        return f"did you mean `{dashes}{near}`?"
    return "" if dashes else _see_help("")
