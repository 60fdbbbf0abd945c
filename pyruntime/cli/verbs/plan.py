"""`plan`: print the steps of create and start, without carrying them out."""

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.jsonio import dumps
from pyruntime.base.printable import printable
from pyruntime.cli.output import STDOUT, write
from pyruntime.host.facts import facts
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.spec import check_config, load_config
from pyruntime.spec.load import parse, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.cli.parse import CommandLine
    from pyruntime.plan.plan import Plan

# Stands for the id that create would be given.
_ID = "ID"

# A longer call goes on in the next line, so that pointers and clauses stay in sight.
_WIDEST_CALL = 72


# The sections after the start gate, by the operation that carries them out.
_LATER = {
    "system call filter": "start",
    "startContainer hooks": "start",
    "program": "start",
    "poststart hooks": "start",
    "poststop hooks": "delete",
}
_GATE = "create ends here, and init waits at the start gate"
_BOLD, _CYAN, _DIM, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[2m", "\x1b[0m"


def main(line: "CommandLine") -> int:
    """Compile the bundle's config.json for this host and user, and print the plan, or how it differs from another."""
    options = line.options
    plan = _plan(options["bundle"] or ".")
    if options["diff"]:
        other = _plan(options["diff"])
        text = difference(other, plan, options["diff"], options["bundle"] or ".")
    elif options["format"] == "json":
        text = as_json(plan)
    else:
        text = as_text(plan, colours=_is_for_a_terminal())
    write(text)
    for warning in plan.warnings:
        log.warning(warning)
    return 0


def _plan(path: str) -> "Plan":
    """Return the plan of the bundle `path`, or of the document `path` in a bundle. Raises Error."""
    path = os.path.abspath(path)
    if os.path.isdir(path) or not os.path.exists(path):
        return compile_plan(Context(load_config(path), facts(), path, _ID))
    document: Any = parse(read(path), path)
    check_config(document, path)
    return compile_plan(Context(document, facts(), os.path.dirname(path), _ID))


def _is_for_a_terminal() -> bool:
    """Tell whether colours are welcome: https://no-color.org."""
    return os.isatty(STDOUT) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def as_text(plan: "Plan", *, colours: bool = False) -> str:
    """Return a summary, and a line for each step: number, who, the call, what asks for it, and which clause.

    The steps stand in sections below the operation that carries them out; colours are those of ANSI terminals.
    """
    sections = [(title, where, steps) for title, where, steps in plan.sections() if steps]
    rows = {
        id(step): (_folded(printable(str(step))), printable(step.pointer)) for _, _, steps in sections for step in steps
    }
    number = len(str(len(rows)))
    call = min(max((len(line) for calls, _ in rows.values() for line in calls), default=0), _WIDEST_CALL)
    pointer = max((len(asked) for _, asked in rows.values()), default=0)
    bold, cyan, dim, plain = (_BOLD, _CYAN, _DIM, _PLAIN) if colours else ("",) * 4
    lines = [f"{bold}{_summary(plan)}{plain}"]
    operation, index = "create", 0
    for title, where, steps in sections:
        if _LATER.get(title, "create") != operation:
            lines += ["", f"{dim}-- {_GATE}{plain}"] if operation == "create" else []
            operation = _LATER[title]
        lines += ["", f"{bold}{operation}: {title}{plain}"]
        for step in steps:
            index += 1
            calls, asked = rows[id(step)]
            margin, room, further = f"{index:>{number}}  {where:<4}  ", call, " " * (number + 10)
            while calls and len(calls[0]) > room:  # a path longer than the column has a line of its own
                lines.append(margin + calls.pop(0))
                margin, room = further, call - 2
            first = calls[0] if calls else ""
            text = f"{margin}{first:<{room}}  {cyan}{asked:<{pointer}}{plain}  {dim}{step.clause}{plain}"
            lines.append(text.rstrip())
            lines += [further + more for more in calls[1:]]
    return "".join(line + "\n" for line in lines)


def _summary(plan: "Plan") -> str:
    """Return how much there is of what people ask for first."""
    steps = list(plan.steps())
    counts = {
        "mount": len({step.pointer.split("/")[2] for step in steps if step.pointer.startswith("/mounts/")}),
        "namespace": len(plan.namespaces),
        "limit": sum(step.op in ("write_cgroup", "prlimit", "set_unit_property") for step in steps),
        "hook": sum(step.op == "hook" for step in steps),
    }
    words = [f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items()]
    return f"plan of {len(steps)} steps: {', '.join(words)}"


def difference(old: "Plan", new: "Plan", old_name: str, new_name: str) -> str:
    """Return the steps that differ between two plans, as a unified diff without line numbers; "" where none does."""
    from difflib import unified_diff  # late: only for --diff

    before, after = _lines(old), _lines(new)
    found = unified_diff(before, after, printable(old_name), printable(new_name), n=1, lineterm="")
    return "".join(line + "\n" for line in found if not line.startswith("@@"))


def _lines(plan: "Plan") -> "list[str]":
    """Return a line for each step, which says nothing of its number."""
    return [
        "  ".join(filter(None, (where, printable(str(step)), printable(step.pointer), step.clause)))
        for where, steps in plan.phases()
        for step in steps
    ]


def _folded(call: str) -> list[str]:
    """Return `call` in pieces that fit into the column, broken between arguments, or in a list too long for it."""
    lines = [""]
    for word in call.split(" "):
        space = " " if lines[-1] else ""
        if len(lines[-1] + space + word) <= _WIDEST_CALL:
            lines[-1] += space + word
            continue
        lines += [""] if lines[-1] else []
        for item in word.replace(",", ",\n").split("\n"):
            if lines[-1] and len(lines[-1] + item) > _WIDEST_CALL:
                lines.append("")
            lines[-1] += item
    return lines


def as_json(plan: "Plan") -> str:
    """Return the steps as an array, a line for each: number, who, operation, arguments, pointer and clause."""
    entries = [
        {
            "step": 0,
            "by": where,
            "op": step.op,
            "args": {name: _plain(value) for name, value in step.args.items()},
            "pointer": step.pointer,
            "clause": step.clause,
        }
        for where, steps in plan.phases()
        for step in steps
    ]
    for index, entry in enumerate(entries, 1):
        entry["step"] = index
    return "[\n" + ",\n".join("  " + dumps(entry) for entry in entries) + "\n]\n"


def _plain(value: object) -> object:
    """Return `value` as what JSON can say."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)
