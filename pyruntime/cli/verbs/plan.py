"""`plan`: print the steps that create would take, without taking any."""

import os

from pyruntime import log
from pyruntime.cli.output import write
from pyruntime.host.facts import facts
from pyruntime.jsonio import dumps
from pyruntime.plan import Context, compile_plan
from pyruntime.spec import load_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine
    from pyruntime.plan import Plan

# Stands for the id that create would be given.
_ID = "ID"

# A longer call than this is let stick out, so that one of them does not push all clauses out of sight.
_WIDEST_CALL = 90
_WIDEST_POINTER = 40


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
    rows = [(where, str(step), step.pointer, step.clause) for where, steps in plan.phases() for step in steps]
    number = len(str(len(rows)))
    call = min(max((len(row[1]) for row in rows), default=0), _WIDEST_CALL)
    pointer = min(max((len(row[2]) for row in rows), default=0), _WIDEST_POINTER)
    return "".join(
        f"{index:>{number}}  {row[0]:<4}  {row[1]:<{call}}  {row[2]:<{pointer}}  {row[3]}".rstrip() + "\n"
        for index, row in enumerate(rows, 1)
    )


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
