"""Finds in a program's first bytes why the kernel does not execute it. Loaded only if execve(2) has failed."""

import errno

import pyruntime
from pyruntime.base import lean_os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.base.errors import Error
    from pyruntime.spec.json_types import Config

# e_machine of <linux/elf-em.h> -> names that uname(2) has for the machine.
_MACHINES = {
    2: ("sparc",),
    3: ("i386", "i486", "i586", "i686"),
    8: ("mips", "mips64"),
    20: ("ppc",),
    21: ("ppc64", "ppc64le"),
    22: ("s390x", "s390"),
    40: ("arm", "armv6l", "armv7l", "armv8l"),
    43: ("sparc64",),
    62: ("x86_64",),
    183: ("aarch64",),
    243: ("riscv64", "riscv32"),
    258: ("loongarch64",),
}
_SCRIPT = b"#!"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = 256  # bytes of a script's first line that the kernel looks at (execve(2))
_PT_INTERP = 3
_RELOCATABLE, _CORE = 1, 4


def explain(error: "Error", head: bytes, config: "Config | None") -> None:
    """Add to `error`, the failure of execve(2), what the program needs and the container lacks.

    head    the first bytes of the program, b"" if they could not be read
    config  the container's configuration, or None
    """
    if error.errno == errno.EPERM and config is not None:
        for note in pyruntime.spec.likely_mistakes.without_execve((config.get("linux") or {}).get("seccomp") or {}):
            error.reason, error.advice = "the seccomp filter forbids it", note.advice
            error.pointer, error.value, error.clause = note.pointer, note.value, note.clause
        return
    error.reason = reason(error.errno, head, os.uname().machine)


def reason(number: int, head: bytes, host: str) -> str:
    """Return why execve(2) refuses with errno `number` a file that begins with `head`; "" if the bytes do not tell.

    host  the machine's name as uname(2) has it
    """
    if number == errno.ETXTBSY:
        return "somebody has the file open for writing"
    if not head:
        return ""
    if head.startswith(_SCRIPT):
        return _script(number, head)
    if head.startswith(b"\x7fELF"):
        return _elf(number, head, host)
    if number != errno.ENOEXEC:
        return ""
    if head.startswith(_BYTE_ORDER_MARK + _SCRIPT):
        return "a byte order mark stands before its #! line; save it as UTF-8 without one"
    return "it is neither an ELF file nor a script with a #! line"


def _script(number: int, head: bytes) -> str:
    line, newline, _ = head[len(_SCRIPT) : _LINE].partition(b"\n")
    words = line.strip(b" \t").replace(b"\t", b" ").split(b" ")
    name = words[0].decode(errors="backslashreplace")
    if not name.strip():
        return "its #! line names no interpreter"
    if not newline and len(head) >= _LINE:
        return f"its #! line is longer than the {_LINE} bytes that the kernel reads"
    if line.endswith(b"\r") and number == errno.ENOENT:
        return f"its #! line ends with CR LF, so that the kernel looks for {name!r}; save it with LF"
    return _needed(number, f"its interpreter {name} (the #! line)")


def _elf(number: int, head: bytes, host: str) -> str:
    order = "big" if head[5:6] == b"\2" else "little"

    def at(place: int, size: int) -> int:
        return int.from_bytes(head[place : place + size], order)  # type: ignore[arg-type]  # one of the two

    machine = at(18, 2)
    names = _MACHINES.get(machine, (f"machine {machine}",))
    if host not in names and (host, machine) not in (("x86_64", 3), ("aarch64", 40)):
        return f"it is a program for {names[0]}, and this host is {host}"
    if number == errno.ENOEXEC:
        if at(16, 2) in (_RELOCATABLE, _CORE):
            return f"it is no program but {'an object file' if at(16, 2) == _RELOCATABLE else 'a core dump'}"
        if host not in names:
            return f"it is a program for {names[0]}, which this host's kernel ({host}) does not execute"
        return "it is a damaged ELF file, or one of a kind that this kernel does not execute"
    loader = _loader(head, at)
    return _needed(number, f"its loader {loader} (PT_INTERP)") if loader else ""


def _loader(head: bytes, at: "Callable[[int, int], int]") -> str:
    """Return the path in the program header PT_INTERP (elf(5)); "" where there is none, or it is not in `head`."""
    wide = head[4:5] == b"\2"
    start, size, count = (at(32, 8), at(54, 2), at(56, 2)) if wide else (at(28, 4), at(42, 2), at(44, 2))
    for index in range(count):
        header = start + index * size
        if header + size > len(head):
            break
        if at(header, 4) == _PT_INTERP:
            place, length = (at(header + 8, 8), at(header + 32, 8)) if wide else (at(header + 4, 4), at(header + 16, 4))
            path = head[place : place + length]
            return path.rstrip(b"\0").decode(errors="backslashreplace") if 0 < len(path) == length else ""
    return ""


def _needed(number: int, what: str) -> str:
    """Return what is wrong with `what` the program needs, where execve(2) answers `number`."""
    if number == errno.ENOENT:
        return f"{what} is missing in the container"
    if number == errno.EACCES:
        return f"{what} may not be executed: its mode, its owner or the option noexec of its mount"
    if number in (errno.ELIBBAD, errno.ENOEXEC):
        return f"{what} cannot be executed: it is damaged, or for another machine"
    if number == errno.ELOOP:
        return f"{what} is a script again, too many times"
    return ""
