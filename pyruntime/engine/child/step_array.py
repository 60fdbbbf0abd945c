"""The flat form of a plan's stub steps: an array of `struct step` and the arena of its strings (csrc/stub/plan.h)."""

import sys

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step

# What steps name of a `struct step`: strings, which are offsets into the arena, and numbers. What else they have is for
# the host alone.
_STRINGS = frozenset(["path", "source", "fstype", "label"])
_NUMBERS = """
    flags mode uid gid dev sb_flags attr_set attr_clr rec_set rec_clr propagation rec_propagation
""".split()  # noqa: SIM905  # one paragraph reads better
_MEMBERS = frozenset(["data", *_STRINGS, *_NUMBERS])


# Operation of a process step -> argument -> its place among the numbers of the step (csrc/stub/plan.h, enum value).
_VALUES = {
    "terminal": {"rows": lib.VALUE_ROWS, "columns": lib.VALUE_COLUMNS},
    "personality": {"persona": lib.VALUE_PERSONA},
    "sched_setattr": {
        "policy": lib.VALUE_POLICY,
        "sched_flags": lib.VALUE_SCHED_FLAGS,
        "nice": lib.VALUE_NICE,
        "priority": lib.VALUE_PRIORITY,
        "runtime": lib.VALUE_RUNTIME,
        "deadline": lib.VALUE_DEADLINE,
        "period": lib.VALUE_PERIOD,
    },
    "ioprio_set": {"ioclass": lib.VALUE_IOCLASS, "priority": lib.VALUE_LEVEL},
    "set_mempolicy": {"mode": lib.VALUE_MODE},
    "chdir": {"tolerant": lib.VALUE_TOLERANT},
    "umask": {"mask": lib.VALUE_MASK},
    "bounding": {"keep": lib.VALUE_KEEP},
    "user": {"setgroups": lib.VALUE_SETGROUPS},
    "capset": {
        "effective": lib.VALUE_EFFECTIVE,
        "permitted": lib.VALUE_PERMITTED,
        "inheritable": lib.VALUE_INHERITABLE,
        "ambient": lib.VALUE_AMBIENT,
        "until_exec": lib.VALUE_UNTIL_EXEC,
    },
    "stdio": {"made": lib.VALUE_MADE},
    "setsid": {"controlling": lib.VALUE_CONTROLLING},
    "landlock_create_ruleset": {
        "handled_fs": lib.VALUE_HANDLED_FS,
        "handled_net": lib.VALUE_HANDLED_NET,
        "scoped": lib.VALUE_SCOPED,
    },
    "landlock_add_path": {"allowed_fs": lib.VALUE_ALLOWED},
    "landlock_add_port": {"allowed_net": lib.VALUE_ALLOWED, "port": lib.VALUE_PORT},
    "landlock_restrict_self": {},
    "prlimit": {"resource": lib.VALUE_RESOURCE, "soft": lib.VALUE_SOFT, "hard": lib.VALUE_HARD},
    "oom_score_adj": {"value": lib.VALUE_SCORE},
}
# Steps of a process whose arguments are not numbers, or have none; and all that `_fill` is for.
_BY_NAME = frozenset(["label", "keyring", "stdio", "no_new_privs", "sched_setaffinity"])
_OF_PROCESS = _BY_NAME | frozenset(_VALUES)
# The names that differ in the step.
_TEXTS = {"name": "data", "text": "source", "attributes": "data"}
_BITS = frozenset(["cpus", "nodes"])
_WORD = 64  # bits
_EVERY = (1 << _WORD) - 1


class _Strings(dict["str | tuple[str, ...]", int]):
    """The arena: string -> its offset. One that is looked up and is new is added; several lie one behind the other.

    Each ends with NUL. Offset 0 is the empty string, so a member that is not set is empty.
    """

    __slots__ = ("arena",)

    def __init__(self) -> None:
        self.arena = bytearray(b"\0")
        self[""] = 0

    def __missing__(self, text: "str | tuple[str, ...]") -> int:
        raw = os.fsencode(text) if isinstance(text, str) else b"".join([os.fsencode(item) + b"\0" for item in text])
        offset = self[text] = len(self.arena)
        self.arena += raw + b"\0"
        return offset


class StepArrays:
    """Arrays of steps that share one arena.

    numbered  with --debug or --trace, the steps in the order of their numbers (struct step.number)

    Descriptors opened for a step are looked up by the step's identity in `trees` (for `fd`) and `maps` (for `userns`).
    """

    __slots__ = ("_pinned", "_strings", "maps", "numbered", "trees")

    def __init__(self) -> None:
        self._strings = _Strings()
        self._pinned: list[object] = []
        self.trees: dict[int, int] = {}
        self.maps: dict[int, int] = {}
        self.numbered: list[Step] = []

    def _list(self, raw: bytes) -> int:
        """Return the offset of numbers, aligned."""
        arena = self._strings.arena
        arena += bytes(-len(arena) % 8)
        offset = len(arena)
        arena += raw
        return offset

    def array(self, steps: "list[Step]") -> "Any":
        """Return `steps` as a C array of `struct step`."""
        array = ffi.new("struct step[]", max(len(steps), 1))
        strings = self._strings
        for index, step in enumerate(steps):
            if step.op in _OF_PROCESS:
                members: dict[str, Any] = {}
            elif _MEMBERS.issuperset(step.args):
                members = step.args.copy()
            else:
                members = {name: value for name, value in step.args.items() if name in _MEMBERS}
            for name in _STRINGS.intersection(members):
                members[name] = strings[members[name]]
            if "data" in members:
                data = members["data"]
                members["data"] = strings[data if isinstance(data, str) else tuple(data)]
            members["op"] = OPERATIONS.get(step.op, lib.OP_EXECVE)
            members["fd"] = self.trees.get(id(step), -1)
            members["userns"] = self.maps.get(id(step), -1)
            if log.events is not None:
                members["number"] = len(self.numbered)
                self.numbered.append(step)
            array[index] = members
            if step.op in _OF_PROCESS:
                self._fill(array[index], step)
        self._pinned.append(array)
        return array

    def _fill(self, item: "Any", step: "Step") -> None:
        """Fill in a step of a process."""
        places = _VALUES.get(step.op, {})
        for name, value in step.args.items():
            if name in places:
                item.value[places[name]] = int(value) & _EVERY
            elif name == "groups":
                item.list_size = len(value)
                item.list = self._list(b"".join(number.to_bytes(4, sys.byteorder) for number in value))
            elif name in _BITS:
                bits = sum(1 << number for number in set(value))
                item.list_size = -(-bits.bit_length() // _WORD)
                item.list = self._list(bits.to_bytes(item.list_size * 8, "little"))
            elif name in _TEXTS and step.op in _BY_NAME:
                setattr(item, _TEXTS[name], self._strings[value if isinstance(value, str) else tuple(value)])
            elif name == "path":
                item.path = self._strings[value]
            elif name in ("uid", "gid"):
                setattr(item, name, value)

    def stub(self, console: int = -1) -> "Any":
        """Return the `struct stub` that the steps act on; call it after the last `array`.

        console  socket that takes the terminal's master, or -1
        """
        arena = ffi.from_buffer(self._strings.arena)
        stub = ffi.new("struct stub *")
        stub.arena, stub.arena_size = ffi.cast("char *", arena), len(self._strings.arena)
        stub.root = stub.proc = stub.terminal = stub.ruleset = stub.restriction = stub.marks = -1
        stub.console_socket = console
        self._pinned += [arena, stub]
        return stub

    def execution(self, plan: "Plan", preserve: int, seccomp: "Any") -> "Any":
        """Return `struct execution` for the program of `plan`; NULL where it has none.

        preserve  how many descriptors from 3 on the program inherits
        seccomp   `struct filter`, whose memory the caller keeps, or None
        """
        if not plan.execute:
            return ffi.NULL
        args = plan.execute[0].args
        execution = ffi.new("struct execution *")
        execution.argv = self._vector(args["argv"], 1)
        # The environment is passed unchanged, with its order and duplicates.
        execution.env = self._vector(args["env"], 2)
        execution.limits = self.array(plan.limits)
        execution.limit_count = len(plan.limits)
        execution.preserve = preserve
        execution.filter = raw = seccomp if seccomp is not None else no_filter()
        for step in (*plan.process, *plan.landlock):
            if step.op == "landlock_restrict_self":
                raw.capabilities |= step.args["capabilities"]
            elif step.op == "capset":
                raw.surplus = step.args["until_exec"] & ~step.args["permitted"]
        self._pinned += [execution, raw]
        return execution

    def _vector(self, strings: "list[str]", more: int) -> "Any":
        """Return `strings` as an array that ends with NULL; with `more` - 1 it has room for that many more."""
        items = [ffi.new("char[]", os.fsencode(text)) for text in strings]
        vector = ffi.new("char *[]", len(items) + more)
        vector[0 : len(items)] = items
        self._pinned += [*items, vector]
        return vector


def no_filter() -> "Any":
    """Return a `struct filter` without a program."""
    raw = ffi.new("struct filter *")
    raw.agent = raw.ruleset = -1
    return raw


OPERATIONS = {
    name: getattr(lib, f"OP_{name.upper()}")
    for name in (
        "propagation",
        "root",
        "mount",
        "bind",
        "bind_inside",
        "remount",
        "setattr",
        "mkdir",
        "symlink",
        "mknod",
        "console",
        "mask",
        "readonly",
        "sysctl",
        "hostname",
        "domainname",
        "loopback",
        "pivot_root",
        "move_root",
        "chroot",
        "here",
        "verify",
        "label",
        "keyring",
        "terminal",
        "personality",
        "sched_setattr",
        "sched_setaffinity",
        "ioprio_set",
        "set_mempolicy",
        "stdio",
        "chdir",
        "umask",
        "bounding",
        "user",
        "capset",
        "no_new_privs",
        "setsid",
        "prlimit",
        "oom_score_adj",
        "landlock_create_ruleset",
        "landlock_add_path",
        "landlock_add_port",
        "landlock_restrict_self",
    )
}
