"""Writes completions for bash, zsh and fish, and the man pages, from the table of options.

`python generate/share.py DIRECTORY` fills DIRECTORY (/usr/local/share, say) in the places where shells and man look.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from pyruntime import SPEC_VERSION, __version__
from pyruntime.cli.examples import EXAMPLES, statuses
from pyruntime.cli.options import FLAG, GLOBAL_OPTIONS, LIST, VERBS, Option, Verb, options_of
from pyruntime.spec import clauses

# What a value is, by the name that the help gives it.
FILES = ("FILE", "PATH", "PROFILE")
DIRECTORIES = ("DIR", "OTHER")
SIGNALS = ("TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH")


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the content of each file."""
    yield "bash-completion/completions/pyruntime", bash()
    yield "zsh/site-functions/_pyruntime", zsh()
    yield "fish/vendor_completions.d/pyruntime.fish", fish()
    yield "man/man8/pyruntime.8", program_page()
    for verb in VERBS.values():
        yield f"man/man8/pyruntime-{verb.name}.8", verb_page(verb)


def spellings(option: Option) -> list[str]:
    """Return how the option can be written."""
    return [*([f"-{option.short}"] if option.short else []), f"--{option.name}"]


def explained() -> list[str]:
    """Return what `explain` takes: sections and clauses of the specification, and properties of config.json."""
    names = clauses.catalogue()
    sections = dict.fromkeys(name.partition("/")[0] for name in names)
    return [*sections, *names, *(name for name in clauses.properties() if "*" not in name)]


def takes_id(verb: Verb) -> bool:
    """Tell whether the verb's first argument names a container that is there already."""
    return verb.usage.startswith("ID") and verb.name not in ("create", "run", "restore")


# ---- bash ----

BASH = """\
# bash completion for pyruntime; made from its table of options

_pyruntime() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} verb= id= root=() index
    local options values verbs=({verbs})
    COMPREPLY=()
    # "--option=value" is three words, because "=" is in COMP_WORDBREAKS.
    if [[ $word == = ]]; then
        word=
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "$verb:${{COMP_WORDS[index]}}" in
            :--root)
                [[ ${{COMP_WORDS[index + 1]}} == = ]] && ((index++))
                root=(--root "${{COMP_WORDS[++index]}}")
                ;;
{skipped}
            *:-*) ;;
            :*) verb=${{COMP_WORDS[index]}} ;;
            *) id=${{COMP_WORDS[index]}} ;;
        esac
    done
    case "$verb:$previous" in
{values}
    esac
    case "$verb" in
{options}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W "${{verbs[*]}}" -- "$word"))
    elif [[ -z $id && $verb == @({with_id}) ]]; then
        COMPREPLY=($(compgen -W "$(pyruntime "${{root[@]}}" list --quiet 2>/dev/null)" -- "$word"))
    elif [[ $verb == kill ]]; then
        COMPREPLY=($(compgen -W "{signals}" -- "$word"))
    elif [[ $verb == explain ]]; then
        COMPREPLY=($(compgen -W "{explained}" -- "$word"))
    elif [[ $verb == help ]]; then
        COMPREPLY=($(compgen -W "${{verbs[*]}}" -- "$word"))
    fi
}}

complete -F _pyruntime pyruntime
"""


def bash() -> str:
    """Return the completion for bash."""
    skipped, values, options = [], [], []
    for name, table in (("", GLOBAL_OPTIONS), *((verb.name, options_of(verb)) for verb in VERBS.values())):
        words = " ".join(spelling for option in table for spelling in spellings(option))
        options.append(f'        "{name}") options="{words}" ;;')
        valued = [option for option in table if option.kind != FLAG]
        for option in valued:
            place = "|".join(f"{name}:{spelling}" for spelling in spellings(option))
            values.append(f"        {place}) {_bash_value(option)}; return ;;")
        patterns = "|".join(
            f"{name}:{spelling}" for option in valued for spelling in spellings(option) if option.name != "root" or name
        )
        if patterns:
            skipped.append(f"            {patterns}) [[ ${{COMP_WORDS[++index]}} == = ]] && ((index++)) ;;")
    return BASH.format(
        verbs=" ".join(VERBS),
        skipped="\n".join(skipped),
        values="\n".join(values),
        options="\n".join(options),
        with_id="|".join(verb.name for verb in VERBS.values() if takes_id(verb)),
        signals=" ".join(SIGNALS),
        explained=" ".join(explained()),
    )


def _bash_value(option: Option) -> str:
    if option.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word"))'
    if option.metavar in DIRECTORIES:
        return 'compopt -o filenames; COMPREPLY=($(compgen -d -- "$word"))'
    if option.metavar in FILES:
        return 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"))'
    return "true"


# ---- zsh ----

ZSH = """\
#compdef pyruntime
# zsh completion for pyruntime; made from its table of options

_pyruntime_containers() {{
    local -a containers
    containers=(${{(f)"$(_call_program containers pyruntime $root list --quiet 2>/dev/null)"}})
    _describe container containers
}}

_pyruntime_explained() {{
    local -a names
    names=({explained})
    compadd -a names
}}

_pyruntime() {{
    local curcontext=$curcontext state line
    local -a verbs root
    typeset -A opt_args
    verbs=(
{verbs}
    )
    _arguments -C \\
{shared}
        '1: :->verb' '*:: :->rest' && return
    # What follows the verb has options of its own, which replace these.
    [[ -n ${{opt_args[--root]}} ]] && root=(--root ${{opt_args[--root]}})
    case $state in
        verb) _describe verb verbs ;;
        rest)
            curcontext=${{curcontext%:*}}-$words[1]:
            case $words[1] in
{cases}
            esac
            ;;
    esac
}}

_pyruntime "$@"
"""


def zsh() -> str:
    """Return the completion for zsh."""
    cases = []
    for verb in VERBS.values():
        arguments = [_zsh_option(option) for option in options_of(verb)]
        if takes_id(verb):
            arguments.append("'1:container:_pyruntime_containers'")
        if verb.name == "kill":
            arguments.append(f"'2:signal:({' '.join(SIGNALS)})'")
        if verb.name == "explain":
            arguments.append("'1:clause or property:_pyruntime_explained'")
        if verb.usage in ("FILE", "[PATH...]"):
            arguments.append("'*:file:_files'")
        if verb.greedy and verb.name != "kill":
            arguments.append("'*:argument:_normal'" if verb.name == "exec" else "'*:argument:'")
        cases.append(f"                {verb.name}) _arguments {' '.join(arguments)} ;;")
    return ZSH.format(
        verbs="\n".join(f"        '{verb.name}:{_zsh_text(verb.summary)}'" for verb in VERBS.values()),
        shared="\n".join(f"        {_zsh_option(option)} \\" for option in GLOBAL_OPTIONS),
        cases="\n".join(cases),
        explained=" ".join(f"'{name}'" for name in explained()),
    )


def _zsh_text(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _zsh_option(option: Option) -> str:
    """Return the specification of an option, as _arguments(1) of zsh takes it."""
    value = ""
    if option.kind != FLAG:
        if option.choices:
            what = f"({' '.join(option.choices)})"
        elif option.metavar in DIRECTORIES:
            what = "_files -/"
        else:
            what = "_files" if option.metavar in FILES else " "
        value = f":{_zsh_text(option.metavar)}:{what}"
    # "--option=" takes its value from the same word or from the next one.
    words = [f"{word}=" if value and word.startswith("--") else word for word in spellings(option)]
    again = "*" if option.kind == LIST else ""
    names = f"'{again or f'({chr(32).join(spellings(option))})'}'" if len(words) > 1 else f"'{again}'" if again else ""
    alternatives = "{" + ",".join(words) + "}" if len(words) > 1 else words[0]
    return f"{names}{alternatives}'[{_zsh_text(option.help)}]{value}'"


# ---- fish ----

FISH = """\
# fish completion for pyruntime; made from its table of options

# Print the verb and the arguments before the cursor, without options and their values.
function __pyruntime_arguments
    set -l valued {valued}
    set -l found ''
    set -l is_value 0
    for word in (commandline -opc)[2..-1]
        if test $is_value = 1
            set is_value 0
        else if contains -- "$found[1]:$word" $valued
            set is_value 1
        else if not string match -q -- '-*' $word
            test "$found[1]" = '' && set found $word || set -a found $word
        end
    end
    printf '%s\n' $found
end

function __pyruntime_containers
    set -l words (commandline -opc)
    set -l root (string replace -rf -- '^--root=' '' $words)
    if set -l place (contains -i -- --root $words)
        set root $words[(math $place + 1)]
    end
    test -n "$root" && set root --root $root[1]
    pyruntime $root list --quiet 2>/dev/null
end

complete -c pyruntime -f
"""


def fish() -> str:
    """Return the completion for fish."""
    lines = [_fish_option("__fish_use_subcommand", option) for option in GLOBAL_OPTIONS]
    for verb in VERBS.values():
        lines.append(f"complete -c pyruntime -n __fish_use_subcommand -a {verb.name} -d {_fish_text(verb.summary)}")
        condition = f"__fish_seen_subcommand_from {verb.name}"
        # The container's id is the first argument, and only that one; a signal follows it.
        first, second = (f"{condition}; and test (count (__pyruntime_arguments)) = {count}" for count in (1, 2))
        if takes_id(verb):
            lines.append(f"complete -c pyruntime -n {_fish_text(first)} -a '(__pyruntime_containers)'")
        words = {"kill": SIGNALS, "explain": explained(), "help": VERBS}.get(verb.name, ())
        if words:
            place = second if verb.name == "kill" else first
            lines.append(f"complete -c pyruntime -n {_fish_text(place)} -a {_fish_text(' '.join(words))}")
        lines += [_fish_option(condition, option) for option in options_of(verb)]
    tables = (("", GLOBAL_OPTIONS), *((verb.name, options_of(verb)) for verb in VERBS.values()))
    valued = [
        f"{name}:{word}"
        for name, table in tables
        for option in table
        if option.kind != FLAG
        for word in spellings(option)
    ]
    return FISH.replace("{valued}", " ".join(valued)) + "".join(f"{line}\n" for line in lines)


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_option(condition: str, option: Option) -> str:
    words = ["complete -c pyruntime -n", _fish_text(condition)]
    words += [f"-s {option.short}"] if option.short else []
    words.append(f"-l {option.name}")
    if option.choices:
        words.append(f"-x -a {_fish_text(' '.join(option.choices))}")
    elif option.metavar in DIRECTORIES:
        words.append("-x -a '(__fish_complete_directories)'")
    elif option.kind != FLAG:
        words.append("-r -F" if option.metavar in FILES else "-x")
    return " ".join([*words, "-d", _fish_text(option.help)])


# ---- man ----


def _roff(text: str) -> str:
    """Return `text` as roff takes it literally."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "")
    return "\n".join(f"\\&{line}" if line.startswith((".", "\\(aq")) else line for line in escaped.split("\n"))


def _header(name: str, summary: str) -> str:
    return (
        f'.TH {name.upper().replace("-", chr(92) + "-")} 8 "" "pyruntime {__version__}" "System Administration"\n'
        f".SH NAME\n{_roff(name)} \\- {_roff(summary)}\n"
    )


def _option_list(options: tuple[Option, ...]) -> str:
    lines = []
    for option in options:
        value = "" if option.kind == FLAG else f" \\fI{_roff(option.metavar)}\\fR"
        words = ", ".join(f"\\fB{_roff(spelling)}\\fR{value}" for spelling in spellings(option))
        default = f" (default: {option.default})" if option.kind != FLAG and option.default not in ("", 0, ()) else ""
        again = " May be given several times." if option.kind == LIST else ""
        choices = f" One of: {', '.join(option.choices)}." if option.choices else ""
        text = f"{option.help[0].upper()}{option.help[1:]}{default}."
        lines.append(f".TP\n{words}\n{_roff(text + choices + again)}\n")
    return "".join(lines)


def program_page() -> str:
    """Return pyruntime(8)."""
    verbs = "".join(f".TP\n\\fB{_roff(verb.name)}\\fR\n{_roff(verb.summary)}\n" for verb in VERBS.values())
    return (
        _header("pyruntime", "run containers as the OCI runtime-spec describes them")
        + ".SH SYNOPSIS\n.B pyruntime\n[\\fIOPTION\\fR...] \\fIVERB\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n"
        + f".SH DESCRIPTION\npyruntime carries out version {SPEC_VERSION} of the runtime\\-spec,\n"
        + "with the command line of\n.BR runc (8).\n"
        + "A bundle is a directory with config.json and, as a rule, a root filesystem.\n"
        + f".SH VERBS\nEach has a page of its own, as \\fBpyruntime\\-run\\fR(8).\n{verbs}"
        + f".SH OPTIONS\n{_option_list(GLOBAL_OPTIONS)}"
        + ".SH FILES\n.TP\n.I /run/pyruntime\nThe state of containers; "
        + "\\fI$XDG_RUNTIME_DIR/pyruntime\\fR for users other than root.\n"
        + ".SH EXIT STATUS\n0 for success, 1 for a failure, 3 for an unknown verb.\n"
        + "\\fBrun\\fR and \\fBexec\\fR in the foreground exit with the status of the container\\(aqs process: "
        + "128+\\fIN\\fR when signal \\fIN\\fR ended it.\n"
        + ".SH SEE ALSO\n"
        + ", ".join(f"\\fBpyruntime\\-{_roff(name)}\\fR(8)" for name in VERBS)
        + "\n"
    )


def verb_page(verb: Verb) -> str:
    """Return pyruntime-VERB(8)."""
    name = f"pyruntime-{verb.name}"
    details = f"{verb.summary[0].upper()}{verb.summary[1:]}."
    if verb.details:
        details += f"\n\n{verb.details}"
    paragraphs = "\n.PP\n".join(_roff(part) for part in details.split("\n\n"))
    return (
        _header(name, verb.summary)
        + f".SH SYNOPSIS\n\\fBpyruntime\\fR [\\fIOPTION\\fR...] \\fB{_roff(verb.name)}\\fR "
        + f"[\\fIOPTION\\fR...] {_roff(verb.usage)}\n".rstrip(" ")
        + f".SH DESCRIPTION\n{paragraphs}\n"
        + f".SH OPTIONS\n{_option_list(options_of(verb))}"
        + ".SH EXIT STATUS\n"
        + "".join(f".TP\n\\fB{status}\\fR\n{_roff(when)}\n" for status, when in statuses(verb.name))
        + ".SH EXAMPLES\n"
        + "".join(f".TP\n\\fBpyruntime {_roff(call)}\\fR\n{_roff(does)}\n" for call, does in EXAMPLES[verb.name])
        + ".SH SEE ALSO\n.BR pyruntime (8)\n"
    )


def main() -> None:
    """Write all files below the directory named by the only argument."""
    for path, content in pages():
        target = Path(sys.argv[1]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


if __name__ == "__main__":
    main()
