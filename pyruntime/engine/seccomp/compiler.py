"""A seccomp profile compiled by libseccomp (config-linux.md#seccomp)."""

import errno
import sys

from pyruntime._seccomp import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan import seccomp_program
from pyruntime.plan.seccomp import CLAUSE, POINTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.spec.json_types import Seccomp

_INSTRUCTION = 8  # bytes of struct sock_filter
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS

# From this number of system calls on, the filter is a binary tree instead of a list: the kernel executes fewer
# instructions for each call, and when it loads the filter, for which it runs the filter once for each call.
_MANY = 32
_BY_HALVES = 2


def version() -> str:
    """Return libseccomp's version, "2.5.4"."""
    found = lib.seccomp_version()
    return f"{found.major}.{found.minor}.{found.micro}"


def library() -> str:
    """Return the path of the file that this process has libseccomp from: its own, or the library. Raises OSError."""
    if "pyruntime._seccomp" in sys.builtin_module_names:
        return sys.executable
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            path = os.fsdecode(line.rstrip(b"\n").partition(b"/")[2])
            # Wheels bring it under a name with a checksum in it.
            if path.rpartition("/")[2].startswith("libseccomp"):
                return f"/{path}"
    raise FileNotFoundError("libseccomp")


def architecture(name: str) -> int:
    """Return libseccomp's token for `name` ("SCMP_ARCH_X86_64"), 0 if libseccomp does not have it."""
    return int(lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode()))


def compile_profile(profile: "Seccomp", strict: bool = False) -> bytes:
    """Return the program for `profile`, an array of struct sock_filter.

    strict  a system call that libseccomp does not have is an error; otherwise it is left out, as with runc, because
            profiles name the calls of all kernels and architectures

    Raises Error that names the element which libseccomp refuses.
    """
    context = lib.seccomp_init(seccomp_program.default_action(profile))
    if context == ffi.NULL:
        number = profile.get("defaultErrnoRet")
        raise Error(
            f"libseccomp {version()} does not take {profile['defaultAction']} as the default action",
            "" if number is None else f"with the errno {number}",
            pointer=f"{POINTER}/{'defaultAction' if number is None else 'defaultErrnoRet'}",
            value=number,
            clause=CLAUSE,
        )
    try:
        architectures = _add_architectures(context, profile)
        names = seccomp_program.names(profile)
        if len(names) > _MANY:
            lib.seccomp_attr_set(context, lib.SCMP_FLTATR_CTL_OPTIMIZE, _BY_HALVES)
        _add_rules(context, profile, strict)
        program = _export(context)
    finally:
        lib.seccomp_release(context)
    if seccomp_program.has_newest(profile):
        program = seccomp_program.newer_calls(_newest(architectures, names)) + program
    length = len(program) // _INSTRUCTION
    if length > _MOST_INSTRUCTIONS:
        raise Error(
            f"the filter has {length} instructions",
            f"the kernel takes {_MOST_INSTRUCTIONS}",
            pointer=f"{POINTER}/syscalls",
            clause=CLAUSE,
        )
    return program


def _add_architectures(context: "Any", profile: "Seccomp") -> "list[int]":
    """Add the profile's architectures to the native one, and return the tokens of all."""
    tokens = [int(lib.seccomp_arch_native())]
    for index, name in enumerate(profile.get("architectures") or ()):
        token = architecture(name)
        result = lib.seccomp_arch_add(context, token) if token else -errno.EINVAL
        if result < 0 and result != -errno.EEXIST:
            raise Error(
                f"libseccomp {version()} cannot filter {name}",
                "it has another byte order than this machine" if result == -errno.EDOM else "",
                pointer=f"{POINTER}/architectures/{index}",
                value=name,
                clause=CLAUSE,
            )
        if token not in tokens:
            tokens.append(token)
    return tokens


def _add_rules(context: "Any", profile: "Seccomp", strict: bool) -> None:
    seen = set()
    conditional = 0
    for name, action, conditions, pointer in seccomp_program.rules(profile):
        if (name, action, conditions) in seen:
            continue
        seen.add((name, action, conditions))
        number = lib.seccomp_syscall_resolve_name(os.fsencode(name))
        if number == lib.__NR_SCMP_ERROR:
            if strict:
                raise Error(
                    f"libseccomp {version()} does not know the system call {name}",
                    pointer=pointer,
                    value=name,
                    clause=CLAUSE,
                )
            continue
        conditional += len(conditions)
        if conditional > _MOST_INSTRUCTIONS:
            # Each condition needs at least one instruction; libseccomp would take minutes to find that they are too
            # many.
            raise Error(
                f"the profile has more than {_MOST_INSTRUCTIONS} conditions",
                f"the kernel takes {_MOST_INSTRUCTIONS} instructions",
                pointer=pointer,
                clause=CLAUSE,
            )
        array = ffi.new("struct scmp_arg_cmp[]", conditions) if conditions else ffi.NULL
        result = lib.seccomp_rule_add_array(context, action, number, len(conditions), array)
        if result < 0:
            raise Error(
                f"libseccomp {version()} does not take the rule for {name}",
                pointer=pointer,
                value=name,
                clause=CLAUSE,
                step="seccomp_rule_add",
                errno=-result,
            )


def _export(context: "Any") -> bytes:
    """Return the program. By way of a file in memory, because libseccomp before 2.6 writes only to descriptors."""
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = lib.seccomp_export_bpf(context, fd)
        if result < 0:
            raise Error(
                f"libseccomp {version()} cannot compile the profile",
                pointer=POINTER,
                clause=CLAUSE,
                step="seccomp_export_bpf",
                errno=-result,
            )
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _newest(architectures: "list[int]", names: "list[str]") -> "dict[int, tuple[int, int]]":
    """Return the greatest number of `names`, without and with x32's bit, for each AUDIT_ARCH_* of `architectures`."""
    newest: dict[int, tuple[int, int]] = {}
    raw = [os.fsencode(name) for name in names]
    for token in architectures:
        # A negative number: this architecture does not have the call.
        greatest = max((lib.seccomp_syscall_resolve_name_arch(token, name) for name in raw), default=0)
        greatest = max(greatest, 0)
        if token == lib.SCMP_ARCH_X32:
            newest[lib.SCMP_ARCH_X86_64] = (newest.get(lib.SCMP_ARCH_X86_64, (0, 0))[0], greatest)
        elif token == lib.SCMP_ARCH_X86_64:
            newest[token] = (greatest, newest.get(token, (0, 0))[1])
        else:
            # Its numbers never have the bit of x32.
            newest[token] = (greatest, greatest)
    return newest
