"""Probable mistakes in a valid configuration: notes of `validate`, never errors."""

from difflib import get_close_matches

from pyruntime.base import json_pointer as pointer
from pyruntime.base.errors import Error
from pyruntime.spec import clauses
from pyruntime.spec.rules.mount_options import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Process, Seccomp

_UNKNOWN = "config.md#extensibility/unknown-ignored"
# bytes; measured for the execution of a static program on Linux 6.18 with cgroup v1
_LEAST_MEMORY = 256 * 1024
# Names of other formats -> the name in the specification.
_ELSEWHERE = {
    "command": "args",
    "cmd": "args",
    "entrypoint": "args",
    "environment": "env",
    "workdir": "cwd",
    "workingdir": "cwd",
    "tty": "terminal",
    "privileged": "capabilities",
    "volumes": "mounts",
    "target": "destination",
    "readonlyrootfs": "readonly",
}


def config_notes(config: "Config") -> "Iterator[Error]":
    """Yield a note for each part of a valid configuration that is probably not meant."""
    yield from _unknown_members(config, "", "")
    yield from _mount_options(config)
    if "process" in config:
        yield from _process(config["process"], "/process")
    linux = config.get("linux") or {}
    if "process" in config and "seccomp" in linux:
        yield from without_execve(linux["seccomp"])
    limit = ((linux.get("resources") or {}).get("memory") or {}).get("limit", -1)
    if 0 <= limit < _LEAST_MEMORY:
        yield Error(
            "no program may fit into the memory limit",
            f"{limit} bytes; a static program has been seen to need {_LEAST_MEMORY}",
            pointer="/linux/resources/memory/limit",
            value=limit,
            clause="config-linux.md#memory",
        )


def process_notes(process: "Process") -> "Iterator[Error]":
    """Yield a note for each part of a valid process document (`exec --process`) that is probably not meant."""
    yield from _unknown_members(process, "/process", "")
    yield from _process(process, "")


def _unknown_members(value: object, template: str, at: str) -> "Iterator[Error]":
    """Yield a note for each member that the specification does not define, with the nearest name that it does.

    template  pointer of `value` as the table of properties has it: "*" is any index or name
    at        pointer of `value` in the document
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_members(item, f"{template}/*", pointer.join(at, index))
        return
    if not isinstance(value, dict):
        return
    known = _members(template)
    for name, member in value.items():
        place = pointer.join(at, name)
        if not known or name in known or "*" in known:
            yield from _unknown_members(member, f"{template}/{name if name in known else '*'}", place)
            continue
        near = _nearest(name, known)
        yield Error(
            f"{pointer.dotted(place)} is ignored",
            "the specification has no such property",
            pointer=place,
            clause=_UNKNOWN,
            advice=f"did you mean {near!r}?" if near else "",
        )


def misspelt(document: object, place: str, template: str) -> str:
    """Return advice for an error about `place`: a member beside it that is spelt nearly as the specification has it.

    document  what `place`, a JSON pointer, leads into
    template  pointer of `document` as the table of properties has it
    """
    *way, _ = place.split("/")[1:] or [""]
    for name in way:
        if isinstance(document, list):
            document = document[int(name)] if name.isdecimal() and int(name) < len(document) else None
            template = f"{template}/*"
        else:
            document = document.get(name) if isinstance(document, dict) else None
            template = f"{template}/{name if name in _members(template) else '*'}"
    known = _members(template)
    if not isinstance(document, dict) or "*" in known:
        return ""
    for name in document:
        near = "" if name in known else _nearest(name, known)
        if near and near not in document:
            return f"{name!r} stands there: did you mean {near!r}?"
    return ""


def _members(template: str) -> "set[str]":
    """Return the names of the members that the specification defines of a place; none where any name may stand."""
    start = f"{template}/"
    return {one[len(start) :].partition("/")[0] for one in clauses.properties() if one.startswith(start)}


def _nearest(name: str, known: "set[str]") -> str:
    lower = {one: name for one, name in _ELSEWHERE.items() if name in known}
    lower |= {one.lower(): one for one in sorted(known)}
    close = get_close_matches(name.lower(), lower, 1, 0.7)
    return lower[close[0]] if close else ""


def _mount_options(config: "Config") -> "Iterator[Error]":
    """Yield a note for each option that would go to the filesystem, and is nearly one of mounts."""
    for number, mount in enumerate(config.get("mounts") or ()):
        for place, option in enumerate(mount.get("options") or ()):
            meant = nearest(option)
            if meant:
                yield Error(
                    f"the filesystem gets the option {option!r}, because no option of mounts has this name",
                    pointer=f"/mounts/{number}/options/{place}",
                    value=option,
                    clause="config.md#linux-mount-options",
                    advice=f"did you mean {meant!r}?",
                )


def _process(process: "Process", at: str) -> "Iterator[Error]":
    arguments = process["args"]
    if len(arguments) == 1 and " " in arguments[0].strip():
        yield Error(
            f"the program's name has blanks: {arguments[0]}",
            "each argument is an element of its own",
            pointer=f"{at}/args/0",
            clause="config.md#process",
            advice=f"did you mean {arguments[0].split()}?",
        )
    sets = process.get("capabilities") or {}
    for name, limits in (("effective", ("permitted",)), ("ambient", ("permitted", "inheritable"))):
        for limit in limits:
            missing = sorted({*sets.get(name, ())} - {*sets.get(limit, ())})  # type: ignore[misc]  # names of sets
            if missing:
                yield Error(
                    f"capabilities that are {name} and not {limit} are left out: {', '.join(missing)}",
                    f"the kernel keeps the {name} set within the {limit} one",
                    pointer=f"{at}/capabilities/{name}",
                    clause="config.md#linux-process",
                )
    plain = sorted(name for names in sets.values() for name in names if not name.upper().startswith("CAP_"))  # type: ignore[attr-defined]
    if plain:
        yield Error(
            f"no capability has the name {plain[0]}",
            "names begin with CAP_",
            pointer=f"{at}/capabilities",
            clause="config.md#linux-process",
            advice=f"did you mean CAP_{plain[0].upper()}?",
        )


def without_execve(seccomp: "Seccomp") -> "Iterator[Error]":
    """Yield a note where the filter never lets execve pass, by which the program begins; also for {}: no filter."""
    if not seccomp:
        return
    passing = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY")
    rules = [rule for rule in seccomp.get("syscalls") or () if "execve" in rule["names"]]
    actions = [rule["action"] for rule in rules]
    conditional = any(rule.get("args") for rule in rules)
    if not rules or conditional:
        actions.append(seccomp["defaultAction"])
    if not any(action in passing for action in actions):
        yield Error(
            "the filter forbids execve",
            "it is loaded before the program is executed, which then cannot begin",
            pointer="/linux/seccomp/syscalls" if rules else "/linux/seccomp/defaultAction",
            value=None if rules else seccomp["defaultAction"],
            clause="config-linux.md#seccomp",
            advice="allow execve",
        )
