"""A seccomp profile as rules, and the part of the filter that libseccomp does not make (config-linux.md#seccomp)."""

import sys

from pyruntime.plan.seccomp import ACTIONS, OPERATORS, POINTER, WITH_ERRNO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Seccomp, Syscall

    # (argument, operator, first value, second value)
    Condition = tuple[int, int, int, int]

_EPERM, _ENOSYS = 1, 38
_ERRNO_ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS

# With these actions the kernel carries out the call, and returns ENOSYS itself if it does not have it.
_PERMISSIVE = frozenset(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])


def action(name: str, errno: "int | None") -> int:
    """Return what a filter returns for action `name`, with `errno` (default: EPERM) where the action has one."""
    value = ACTIONS[name]
    return value | (_EPERM if errno is None else errno) if name in WITH_ERRNO else value


def default_action(profile: "Seccomp") -> int:
    """Return what the filter of `profile` returns where no rule matches."""
    return action(profile["defaultAction"], profile.get("defaultErrnoRet"))


def rules(profile: "Seccomp") -> "Iterator[tuple[str, int, tuple[Condition, ...], str]]":
    """Yield (name of the system call, action, conditions, JSON pointer) for each rule; all its conditions must hold.

    What does the same as the default is left out.
    """
    default = default_action(profile)
    for index, call in enumerate(profile.get("syscalls") or ()):
        value = action(call["action"], call.get("errnoRet"))
        if value == default:
            continue
        alternatives = list(_alternatives(call))
        for position, name in enumerate(call["names"]):
            for conditions in alternatives:
                yield name, value, conditions, f"{POINTER}/syscalls/{index}/names/{position}"


def _alternatives(call: "Syscall") -> "Iterator[tuple[Condition, ...]]":
    """Yield the sets of conditions of `call`, of which one must hold.

    Conditions on several arguments must all hold. Several on one argument are alternatives, each on its own: libseccomp
    takes only one an argument, and profiles rely on what runc has always made of it.
    """
    conditions = [
        (entry["index"], OPERATORS[entry["op"]], entry["value"], entry.get("valueTwo", 0))
        for entry in call.get("args") or ()
    ]
    if len({index for index, *_ in conditions}) < len(conditions):
        yield from ((condition,) for condition in conditions)
    else:
        yield tuple(conditions)


def names(profile: "Seccomp") -> "list[str]":
    """Return the names of the system calls in `profile`, in its order, each once."""
    return list(dict.fromkeys(name for call in profile.get("syscalls") or () for name in call["names"]))


# ---- ENOSYS for what is newer than the profile ----
#
# A program that tries a new system call and falls back to an old one does so at ENOSYS and gives up at EPERM. A profile
# says nothing about calls that did not exist when it was written, so the default action would break such programs on
# each new kernel. What is above every number that the profile names is therefore answered with ENOSYS, as from a kernel
# of the profile's time. Numbers of new system calls only grow, so "above" is "newer".

# Classic BPF: <linux/bpf_common.h>.
_LOAD = 0x20  # LD | W | ABS
_JUMP = 0x05  # JMP | JA
_EQUAL = 0x15  # JMP | JEQ | K
_GREATER = 0x25  # JMP | JGT | K
_ANY_BIT = 0x45  # JMP | JSET | K
_RETURN = 0x06  # RET | K
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data

X32_BIT = 0x40000000
_NEVER = 0xFFFFFFFF
_S390 = frozenset([0x00000016, 0x80000016])


def has_newest(profile: "Seccomp") -> bool:
    """Tell whether calls newer than `profile` need an answer other than the default action's."""
    return profile["defaultAction"] not in _PERMISSIVE and default_action(profile) != _ERRNO_ENOSYS


def newer_calls(newest: "dict[int, tuple[int, int]]") -> bytes:
    """Return instructions to put in front of a filter: ENOSYS for numbers above the newest, the filter for the rest.

    newest  AUDIT_ARCH_* -> (greatest number in the profile, greatest with the bit of x32); 0 where there is none
    """
    sections = [
        _section(architecture, *(limit or _NEVER for limit in limits))
        for architecture, limits in newest.items()
        if any(limits)
    ]
    if not sections:
        return b""
    program = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for section in sections:
        program += section
    end = len(program)
    # A jump in a section leads out of all of them, to the filter.
    return b"".join(
        _encode(code, true, false, end - place - 1 if code == _JUMP else value)
        for place, (code, true, false, value) in enumerate(program)
    )


def _section(architecture: int, limit: int, x32_limit: int) -> "list[tuple[int, int, int, int]]":
    """Return the instructions for one architecture, entered with the architecture loaded."""
    checks = [
        (_ANY_BIT, 1, 0, X32_BIT),
        (_GREATER, 1, 2, limit),
        (_GREATER, 0, 1, x32_limit),
        (_RETURN, 0, 0, _ERRNO_ENOSYS),
    ]
    if architecture in _S390:
        # Numbers that do not fit into the instruction arrive as 0, setup(2), which nothing uses otherwise.
        checks = [(_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ERRNO_ENOSYS), *checks]
    body = [(_LOAD, 0, 0, _NUMBER), *checks, (_JUMP, 0, 0, 0)]
    return [(_EQUAL, 0, len(body), architecture), *body]


def _encode(code: int, true: int, false: int, value: int) -> bytes:
    """Return one struct sock_filter."""
    return code.to_bytes(2, sys.byteorder) + bytes((true, false)) + value.to_bytes(4, sys.byteorder)
