"""Landlock for the container's process, by the annotation org.pyruntime.landlock (spec/rules/landlock.py).

The runtime-spec has no property for it yet (runtime-spec#1110, #1241). The ruleset is made by init as the container's
user, with the paths that the container's process will see, and is enforced right before the seccomp filter is loaded.
"""

from pyruntime.base.errors import Error
from pyruntime.plan.capabilities import NUMBERS
from pyruntime.plan.step import Step
from pyruntime.spec.rules.landlock import ANNOTATION, CLAUSE, FS, HANDLED, NET, POINTER, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyruntime.plan.context import Context

    Table = dict[str, tuple[int, int]]


def keeps(context: "Context") -> int:
    """Return the capabilities, a bit mask, that init keeps permitted until the ruleset is enforced.

    As for the seccomp filter, and no longer than for it (plan/seccomp.py).
    """
    if (context.config.get("process") or {}).get("noNewPrivileges"):
        return 0
    return 1 << NUMBERS["CAP_SYS_ADMIN"]


def landlock(context: "Context") -> "Iterator[Step]":
    """Yield the steps that make the ruleset, add its rules and enforce it; nothing if the kernel has no Landlock.

    What the kernel does not have yet is left out with a warning. Raises Error for that with disableBestEffort, and
    where this runtime may not restrict itself.
    """
    document = parse((context.config.get("annotations") or {})[ANNOTATION])
    abi = context.facts.landlock
    ruleset = document["ruleset"]
    missing = [
        name
        for kind, table in HANDLED.items()
        for name in dict.fromkeys(ruleset.get(kind) or ())
        if table[name][1] > abi
    ]
    if missing and document.get("disableBestEffort"):
        raise _lacking("cannot restrict the container's process with Landlock", abi, missing)
    if missing:
        context.warnings.append(f"{ANNOTATION}: {_words(abi, missing)} ({POINTER}, {CLAUSE})")
    if keeps(context) & ~context.available_capabilities:
        raise Error(
            "Landlock takes CAP_SYS_ADMIN or no_new_privs",
            "pyruntime has not the one and config.json does not ask for the other",
            pointer=POINTER,
            clause=CLAUSE,
            advice="set process.noNewPrivileges to true",
        )
    fs, net, scoped = (_bits(ruleset.get(kind) or (), table, abi) for kind, table in HANDLED.items())
    if not (fs or net or scoped):
        return
    yield Step("landlock_create_ruleset", POINTER, CLAUSE, handled_fs=fs, handled_net=net, scoped=scoped)
    rules = document.get("rules") or {}
    for rule in rules.get("pathBeneath") or ():
        access = _bits(rule["allowedAccess"], FS, abi)
        for path in rule["paths"] if access else ():
            yield Step("landlock_add_path", POINTER, CLAUSE, path=path, allowed_fs=access)
    for rule in rules.get("netPort") or ():
        access = _bits(rule["allowedAccess"], NET, abi)
        for port in rule["ports"] if access else ():
            yield Step("landlock_add_port", POINTER, CLAUSE, port=port, allowed_net=access)
    yield Step("landlock_restrict_self", POINTER, CLAUSE, capabilities=keeps(context))


def _bits(names: "Iterable[str]", table: "Table", abi: int) -> int:
    bits = 0
    for name in names:
        bit, since = table[name]
        if since <= abi:
            bits |= bit
    return bits


def _lacking(doing: str, abi: int, missing: "list[str]") -> Error:
    return Error(doing, _words(abi, missing), pointer=POINTER, clause=CLAUSE, advice="leave out disableBestEffort")


def _words(abi: int, missing: "list[str]") -> str:
    if not abi:
        return "the kernel has no Landlock, or it is switched off (lsm= of the kernel's command line)"
    return f"Landlock of this kernel (ABI {abi}) does not know {', '.join(missing)}"
