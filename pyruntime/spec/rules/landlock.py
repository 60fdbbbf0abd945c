"""The annotation org.pyruntime.landlock: a ruleset of Landlock as JSON, close to the proposal of runtime-spec#1241.

    {"ruleset": {"handledAccessFS": ["execute", …], "handledAccessNet": ["bind_tcp", …], "scoped": ["signal", …]},
     "rules": {"pathBeneath": [{"allowedAccess": ["execute", …], "paths": ["/usr", …]}, …],
               "netPort": [{"allowedAccess": ["connect_tcp"], "ports": [443, …]}, …]},
     "disableBestEffort": false}

A handled access is forbidden unless a rule allows it. The names are those of landlock(7), in lower case.
"""

import pyruntime
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ANNOTATION = "org.pyruntime.landlock"
POINTER = f"/annotations/{ANNOTATION}"
CLAUSE = "config.md#annotations"

# Name -> bit, and the version of the kernel's interface that has it (landlock(7)).
FS = {
    "execute": (1 << 0, 1),
    "write_file": (1 << 1, 1),
    "read_file": (1 << 2, 1),
    "read_dir": (1 << 3, 1),
    "remove_dir": (1 << 4, 1),
    "remove_file": (1 << 5, 1),
    "make_char": (1 << 6, 1),
    "make_dir": (1 << 7, 1),
    "make_reg": (1 << 8, 1),
    "make_sock": (1 << 9, 1),
    "make_fifo": (1 << 10, 1),
    "make_block": (1 << 11, 1),
    "make_sym": (1 << 12, 1),
    "refer": (1 << 13, 2),
    "truncate": (1 << 14, 3),
    "ioctl_dev": (1 << 15, 5),
}
NET = {"bind_tcp": (1 << 0, 4), "connect_tcp": (1 << 1, 4)}
SCOPED = {"abstract_unix_socket": (1 << 0, 6), "signal": (1 << 1, 6)}

# Property of "ruleset" -> its names.
HANDLED = {"handledAccessFS": FS, "handledAccessNet": NET, "scoped": SCOPED}
# Property of "rules" -> the property of "ruleset" that its accesses must be in, and what the rule is about.
RULES = {"pathBeneath": ("handledAccessFS", "paths"), "netPort": ("handledAccessNet", "ports")}

_LAST_PORT = 65535


def parse(text: str) -> "dict[str, Any]":
    """Return the annotation's value, which `check` accepts. Raises Error for what is not JSON."""
    document: Any = pyruntime.spec.load.parse(text.encode("utf-8", "surrogatepass"), f"annotation {ANNOTATION}")
    return document  # type: ignore[no-any-return]


def check(text: str) -> "Iterator[Error]":
    """Yield an Error for each place of the annotation's value that is wrong; its pointer follows in the reason."""
    try:
        document = parse(text)
    except Error as error:
        yield Error(error.doing, error.reason, pointer=POINTER, clause=CLAUSE)
        return
    for place, reason in _document(document):
        yield Error(f"annotation {ANNOTATION}", f"{place or 'it'}: {reason}", pointer=POINTER, clause=CLAUSE)


def _object(value: "Any", place: str, known: "tuple[str, ...]") -> "Iterator[tuple[str, str]]":
    if not isinstance(value, dict):
        yield place, "expected an object"
        return
    for name in value:
        if name not in known:
            yield f"{place}/{name}"[:200], f"expected one of {', '.join(known)}"


def _document(document: "Any") -> "Iterator[tuple[str, str]]":
    """Yield (place, reason) for what is wrong."""
    wrong = list(_object(document, "", ("ruleset", "rules", "disableBestEffort")))
    if wrong:
        yield from wrong
        return
    if not isinstance(document.get("disableBestEffort", False), bool):
        yield "/disableBestEffort", "expected true or false"
    ruleset = document.get("ruleset")
    wrong = list(_object(ruleset, "/ruleset", tuple(HANDLED)))
    if wrong:
        yield from wrong
        return
    for name, table in HANDLED.items():
        yield from _names(ruleset.get(name, []), f"/ruleset/{name}", table)
    if not any(ruleset.values()):
        yield "/ruleset", "expected something that is handled: this one restricts nothing"
    rules = document.get("rules", {})
    wrong = list(_object(rules, "/rules", tuple(RULES)))
    if wrong:
        yield from wrong
        return
    for kind, (handled, objects) in RULES.items():
        entries = rules.get(kind, [])
        if not isinstance(entries, list):
            yield f"/rules/{kind}", "expected an array"
            continue
        allowed = ruleset.get(handled, [])
        for index, rule in enumerate(entries):
            yield from _rule(rule, f"/rules/{kind}/{index}", allowed, handled, objects)


def _names(value: "Any", place: str, known: "Any") -> "Iterator[tuple[str, str]]":
    if not isinstance(value, list):
        yield place, "expected an array"
        return
    for index, name in enumerate(value):
        if not isinstance(name, str) or name not in known:
            yield f"{place}/{index}", f"expected one of {', '.join(known)}"


def _rule(rule: "Any", place: str, allowed: "Any", handled: str, objects: str) -> "Iterator[tuple[str, str]]":
    wrong = list(_object(rule, place, ("allowedAccess", objects)))
    if wrong:
        yield from wrong
        return
    access = rule.get("allowedAccess")
    if not access:
        yield f"{place}/allowedAccess", "expected at least one access"
    elif not isinstance(access, list) or not isinstance(allowed, list):
        yield f"{place}/allowedAccess", "expected an array"
    else:
        for index, name in enumerate(access):
            if name not in allowed:
                yield f"{place}/allowedAccess/{index}", f"expected one that /ruleset/{handled} has"
    values = rule.get(objects)
    if not isinstance(values, list) or not values:
        yield f"{place}/{objects}", "expected an array that is not empty"
        return
    for index, value in enumerate(values):
        if objects == "paths":
            if not (isinstance(value, str) and value.startswith("/") and "\0" not in value):
                yield f"{place}/{objects}/{index}", "expected an absolute path"
        elif isinstance(value, bool) or not (isinstance(value, int) and 0 <= value <= _LAST_PORT):
            yield f"{place}/{objects}/{index}", f"expected a port, from 0 to {_LAST_PORT}"
