"""`plan`: print the steps that create would take, without taking any."""

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.jsonio import dumps
from pyruntime.base.printable import printable
from pyruntime.cli.output import write
from pyruntime.host.facts import facts
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.step_text import step_text
from pyruntime.spec import load_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine
    from pyruntime.plan.plan import Plan

# Stands for the id that create would be given.
_ID = "ID"

# A longer call goes on in the next line, so that pointers and clauses stay in sight.
_WIDEST_CALL = 72


def main(line: "CommandLine") -> int:
    """Compile the bundle's config.json for this host and user, and print the plan."""
    bundle = os.path.abspath(line.options["bundle"] or ".")
    plan = compile_plan(Context(load_config(bundle), facts(), bundle, _ID))
    write(as_json(plan) if line.options["format"] == "json" else as_text(plan))
    for warning in plan.warnings:
        log.warning(warning)
    return 0


def as_text(plan: "Plan") -> str:
    """Return a line for each step: number, who carries it out, the call, what asks for it, and which clause."""
    rows = [
        (where, _folded(printable(step_text(step))), printable(step.pointer), step.clause)
        for where, steps in plan.phases()
        for step in steps
    ]
    number = len(str(len(rows)))
    call = min(max((len(line) for row in rows for line in row[1]), default=0), _WIDEST_CALL)
    pointer = max((len(row[2]) for row in rows), default=0)
    lines = []
    for index, (where, calls, asked, clause) in enumerate(rows, 1):
        margin, room, further = f"{index:>{number}}  {where:<4}  ", call, " " * (number + 10)
        while calls and len(calls[0]) > room:  # a path longer than the column has a line of its own
            lines.append(margin + calls.pop(0))
            margin, room = further, call - 2
        first = calls[0] if calls else ""
        lines.append(f"{margin}{first:<{room}}  {asked:<{pointer}}  {clause}".rstrip())
        lines += [further + more for more in calls[1:]]
    return "".join(line + "\n" for line in lines)


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
