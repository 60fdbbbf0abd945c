"""`--help` and the help verb: pages made from the table of options."""

from pyruntime.cli.examples import EXAMPLES, statuses
from pyruntime.cli.options import FLAG, GLOBAL_OPTIONS, VERBS, Option, Verb, options_of
from pyruntime.cli.output import write
from pyruntime.cli.parse import unknown_verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Print the page on the verb named by the only argument, or the page on the program."""
    if not line.arguments:
        write(program_page())
        return 0
    verb = VERBS.get(line.arguments[0])
    if verb is None:
        raise unknown_verb(line.arguments[0])
    write(verb_page(verb))
    return 0


def program_page() -> str:
    """Return the help on the program: its verbs and global options."""
    width = max(len(name) for name in VERBS)
    verbs = "\n".join(f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS.values())
    return (
        "pyruntime runs containers as the OCI runtime-spec describes them, with the command line of runc.\n\n"
        "Usage: pyruntime [OPTION...] VERB [OPTION...] [ARGUMENT...]\n\n"
        f"Verbs (`pyruntime VERB --help` tells more):\n{verbs}\n\n"
        f"Options:\n{_options(GLOBAL_OPTIONS)}\n"
        "The state is kept below /run/pyruntime, or $XDG_RUNTIME_DIR/pyruntime for users other than root.\n"
        "ID names a container: letters, digits and _ + - . of at most 255 bytes.\n"
    )


def verb_page(verb: Verb) -> str:
    """Return the help on `verb`."""
    usage = " ".join(part for part in ("pyruntime [OPTION...]", verb.name, "[OPTION...]", verb.usage) if part)
    summary = verb.summary[0].upper() + verb.summary[1:]
    details = f"{verb.details}\n\n" if verb.details else ""
    examples = "".join(f"  pyruntime {command}\n      {does}\n" for command, does in EXAMPLES.get(verb.name, ()))
    exits = "".join(f"  {status:<4} {when}\n" for status, when in statuses(verb.name))
    return (
        f"{summary}.\n\nUsage: {usage}\n\n{details}Options:\n{_options(options_of(verb))}\n"
        f"Examples:\n{examples}\nExit status:\n{exits}"
    )


def _options(options: tuple[Option, ...]) -> str:
    """Return a line for each of `options`, their meanings aligned."""
    rows = [(_spelling(option), _meaning(option)) for option in options]
    width = max(len(spelling) for spelling, _ in rows)
    return "".join(f"  {spelling:<{width}}  {meaning}\n" for spelling, meaning in rows)


def _spelling(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    return f"{short}--{option.name}{'' if option.kind == FLAG else ' ' + option.metavar}"


def _meaning(option: Option) -> str:
    default = f" (default: {option.default})" if option.kind != FLAG and option.default not in ("", 0, ()) else ""
    return option.help + default
