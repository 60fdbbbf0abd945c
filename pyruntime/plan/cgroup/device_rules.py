"""Which devices a container may use: one list of rules, as writes for cgroup v1 (config-linux.md#allowed-device-list).

The rules hold in the order listed and the last one that matches decides, for each of read, write and mknod by itself.
Before the first rule nothing is allowed. The default devices come last, as with runc and crun: they MUST be supplied
whatever the rules say (config-linux.md#default-devices), and callers rely on `{"allow": false, "access": "rwm"}` alone.
An entry of linux.devices opens nothing by itself, also as with runc and crun: callers send a rule with it, and a rule
that forbids is not to be undone by a node that exists.
"""

from pyruntime.base.errors import Error
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.json_types import Config, DeviceRule

    # Device -> access and the rule that gave it last.
    Exceptions = dict[tuple[str, int, int], tuple[int, "Rule"]]

CLAUSE = "config-linux.md#allowed-device-list"
DEFAULT_CLAUSE = "config-linux.md#default-devices"
POINTER = "/linux/resources/devices"

# Numbers of struct bpf_cgroup_dev_ctx (linux/bpf.h), used for v1 too.
MKNOD, READ, WRITE = 1, 2, 4
ALL = MKNOD | READ | WRITE
ANY = -1  # major or minor

_LETTERS = {"m": MKNOD, "r": READ, "w": WRITE}

# (type, major, minor, access) that every container gets.
DEFAULTS = (
    ("c", ANY, ANY, MKNOD),  # a node may be made of anything, only not opened: runc's and crun's rule
    ("b", ANY, ANY, MKNOD),
    ("c", 1, 3, ALL),  # /dev/null
    ("c", 1, 5, ALL),  # /dev/zero
    ("c", 1, 7, ALL),  # /dev/full
    ("c", 1, 8, ALL),  # /dev/random
    ("c", 1, 9, ALL),  # /dev/urandom
    ("c", 5, 0, ALL),  # /dev/tty
    ("c", 5, 1, ALL),  # /dev/console
    ("c", 5, 2, ALL),  # /dev/ptmx
    ("c", 136, ANY, ALL),  # /dev/pts/*
    ("c", 10, 200, ALL),  # /dev/net/tun: runc dropped it once and had to bring it back for its callers
)


class Rule:
    """One rule: `kind` is "a" (everything: the other fields are then ANY and ALL), "b" or "c"; `access` a bit mask."""

    __slots__ = ("access", "allow", "clause", "kind", "major", "minor", "pointer")

    def __init__(
        self, allow: bool, kind: str, major: int, minor: int, access: int, pointer: str = "", clause: str = CLAUSE
    ) -> None:
        self.allow = allow
        self.kind = kind
        self.major = major
        self.minor = minor
        self.access = access
        self.pointer = pointer
        self.clause = clause

    def as_list(self) -> "list[object]":
        """The rule as plain JSON: [allow, type, major, minor, access], numbers that match everything as "*"."""
        return [self.allow, self.kind, _number(self.major), _number(self.minor), _letters(self.access)]


_DEFAULT_RULES = [Rule(True, *default, clause=DEFAULT_CLAUSE) for default in DEFAULTS]


def rules(config: "Config") -> list[Rule]:
    """The configuration's rules in their order, then the defaults; the caller starts from "nothing is allowed".

    Upholds config-linux.md#allowed-device-list/listed-order.
    """
    found: list[Rule] = []
    entries = ((config.get("linux") or {}).get("resources") or {}).get("devices") or ()
    for index, entry in enumerate(entries):
        found += _rules_of(entry, f"{POINTER}/{index}")
    return found + _DEFAULT_RULES


def _rules_of(entry: "DeviceRule", pointer: str) -> list[Rule]:
    allow, kind = entry["allow"], entry.get("type", "a")
    major, minor = entry.get("major", ANY), entry.get("minor", ANY)
    access = 0
    for letter in entry.get("access", "rwm"):  # unset is "all", as the spec has it for type, major and minor
        access |= _LETTERS[letter]
    if kind == "a":
        if major == minor == ANY and access == ALL:
            return [Rule(allow, "a", ANY, ANY, ALL, pointer)]
        # The v1 kernel reads any line that starts with "a" as "everything"; what was asked for is narrower.
        return [Rule(allow, "c", major, minor, access, pointer), Rule(allow, "b", major, minor, access, pointer)]
    return [Rule(allow, kind, major, minor, access, pointer)]


def v1_steps(ordered: list[Rule]) -> list[Step]:
    """The writes that make a v1 devices group mean the same as the ordered rules.

    A v1 group is a default and a set of exceptions; the kernel ignores a rule that would cut a piece out of a wider
    exception. Such a list cannot be had on v1 and is an Error. See Documentation/admin-guide/cgroup-v1/devices.rst.
    """
    return list(_DEFAULT_STEPS) if ordered == _DEFAULT_RULES else _v1_steps(ordered)


def _v1_steps(ordered: list[Rule]) -> list[Step]:
    allow_default = False
    clause = CLAUSE
    pointer = ""
    exceptions: Exceptions = {}
    for rule in ordered:
        if rule.kind == "a":
            allow_default, exceptions = rule.allow, {}
            pointer, clause = rule.pointer, rule.clause
        elif rule.allow != allow_default:
            device = (rule.kind, rule.major, rule.minor)
            before = exceptions[device][0] if device in exceptions else 0
            exceptions[device] = (before | rule.access, rule)
        elif exceptions:
            _take_out(exceptions, rule)
    if not allow_default:
        _widen(exceptions)
    files = ("devices.allow", "devices.deny")
    to_default, to_exceptions = files if allow_default else files[::-1]
    steps = [Step("write_cgroup", pointer, clause, controller="devices", file=to_default, value="a")]
    for (kind, major, minor), (access, rule) in exceptions.items():
        value = f"{kind} {_number(major)}:{_number(minor)} {_letters(access)}"
        steps.append(
            Step("write_cgroup", rule.pointer, rule.clause, controller="devices", file=to_exceptions, value=value)
        )
    return steps


def _take_out(exceptions: "Exceptions", rule: Rule) -> None:
    """Remove what `rule` covers from the exceptions; Error where it covers only a piece of a wider one."""
    kind, major, minor = rule.kind, rule.major, rule.minor
    if ANY in (major, minor):
        candidates = list(exceptions)
    else:  # thousands of such rules are no reason to compare each with all
        candidates = [(kind, major, minor), (kind, major, ANY), (kind, ANY, minor), (kind, ANY, ANY)]
    for device in candidates:
        if device[0] != kind or device not in exceptions or not exceptions[device][0] & rule.access:
            continue
        if major in (ANY, device[1]) and minor in (ANY, device[2]):
            access, giver = exceptions.pop(device)
            if access & ~rule.access:
                exceptions[device] = (access & ~rule.access, giver)
        elif (device[1] == ANY or major in (ANY, device[1])) and (device[2] == ANY or minor in (ANY, device[2])):
            raise Error(
                "cannot set the allowed device list",
                f"cgroup v1 cannot except {kind} {_number(major)}:{_number(minor)} from the wider rule "
                f"{kind} {_number(device[1])}:{_number(device[2])} before it",
                pointer=rule.pointer or exceptions[device][1].pointer,
                clause=CLAUSE,
                advice="cgroup v2 can; on v1 list the devices one by one",
            )


def _widen(exceptions: "Exceptions") -> None:
    """Give each exception the read and write access of the wider ones over it.

    The kernel grants "read and write" only where one single exception covers both. Mknod is always asked for alone.
    """
    wide = [device for device in exceptions if ANY in device and exceptions[device][0] & (READ | WRITE)]
    for kind, major, any_minor in wide:
        for other_kind, any_major, minor in wide if any_minor == ANY != major else ():
            if kind == other_kind and any_major == ANY != minor:  # they cross in one device
                exceptions.setdefault((kind, major, minor), (0, exceptions[kind, major, ANY][1]))
    for device in exceptions if wide else ():
        access, giver = exceptions[device]
        for kind, major, minor in wide:
            if kind == device[0] and major in (ANY, device[1]) and minor in (ANY, device[2]):
                access |= exceptions[kind, major, minor][0] & (READ | WRITE)
        exceptions[device] = (access, giver)


def filter_step(ordered: list[Rule]) -> Step:
    """The one step of cgroup v2: an eBPF program with the meaning of the ordered rules."""
    last_general = max((index for index, rule in enumerate(ordered) if rule.kind == "a"), default=0)
    return Step(
        "attach_device_filter",
        POINTER if any(rule.pointer for rule in ordered) else "",
        CLAUSE,
        controller="devices",
        rules=[rule.as_list() for rule in ordered[last_general:]],
    )


def _number(number: int) -> str:
    return "*" if number == ANY else str(number)


def _letters(access: int) -> str:
    return ("", "m", "r", "rm", "w", "wm", "rw", "rwm")[access]


# Those of most containers without rules of their own: the program has them in its snapshot.
_DEFAULT_STEPS = _v1_steps(_DEFAULT_RULES)
