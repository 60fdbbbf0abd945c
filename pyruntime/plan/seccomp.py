"""The system call filter of the container's process (config-linux.md#seccomp)."""

from pyruntime.base.errors import Error
from pyruntime.plan.capabilities import NUMBERS
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import Seccomp

CLAUSE = "config-linux.md#seccomp"
POINTER = "/linux/seccomp"

# SECCOMP_RET_* of <linux/seccomp.h>, which are also libseccomp's SCMP_ACT_*.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
# These carry an errno in their lower half.
WITH_ERRNO = frozenset(["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"])
NOTIFY = "SCMP_ACT_NOTIFY"

# enum scmp_compare of <seccomp.h>.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# libseccomp uses the lower-case name without the prefix.
ARCHITECTURES = (
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
)

# Of seccomp(2).
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
NEW_LISTENER = 1 << 3

# Without the property, as runc: a filter must not slow the process down by a mitigation that nobody asked for, which
# kernels before 5.16 switch on with any filter. An empty list is no flag at all.
DEFAULT_FLAGS = ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",)

# An annotation of crun: a system call that libseccomp does not have is an error, and not left out.
FAIL_UNKNOWN = "run.oci.seccomp_fail_unknown_syscall"


def keeps(context: "Context") -> int:
    """Return the capabilities, a bit mask, that init keeps permitted until the filter is loaded.

    Without no_new_privs the kernel lets only CAP_SYS_ADMIN load a filter. Init could load it before it gives up its
    capabilities, and would then drop them, report and wait for `start` under a filter that may not allow it to. It
    keeps the capability instead, permitted and not effective, and loads the filter right before execve. The program
    does not get it: the kernel computes its sets at execve from the inheritable, bounding and ambient sets, which are
    final since create, and never from the permitted set of before.

    But a process that can see init and has CAP_SYS_PTRACE can trace it, whatever capabilities init has (ptrace(2)), and
    would take the capability from it. So init loads the filter earlier, and gives the capability up at once: in a
    joined pid namespace before init is cloned into it, otherwise before it waits for `start` if the filter allows what
    comes between that and execve (csrc/stub/seccomp_check.c), and if not, before the startContainer hooks.
    """
    seccomp = (context.config.get("linux") or {}).get("seccomp")
    if not seccomp or context.config["process"].get("noNewPrivileges"):
        return 0
    return 1 << NUMBERS["CAP_SYS_ADMIN"]


def seccomp(context: "Context") -> "Iterator[Step]":
    """Yield the step that compiles the filter before the process exists and loads it before the program.

    Raises Error where this runtime may not load any filter.
    """
    profile = (context.config.get("linux") or {}).get("seccomp")
    if not profile:
        return
    if keeps(context) & ~context.available_capabilities:
        raise Error(
            "a filter takes CAP_SYS_ADMIN or no_new_privs",
            "pyruntime has not the one and config.json does not ask for the other",
            pointer=POINTER,
            clause=CLAUSE,
            advice="set process.noNewPrivileges to true",
        )
    calls = profile.get("syscalls") or []
    yield Step(
        "seccomp",
        POINTER,
        CLAUSE,
        default=profile["defaultAction"],
        architectures=profile.get("architectures") or [],
        syscalls=sum(len(call["names"]) for call in calls),
        flags=list(_flags(profile)),
        listener=profile["listenerPath"] if _notifies(profile) else "",
        capabilities=keeps(context),
    )


def _notifies(profile: "Seccomp") -> bool:
    return any(call["action"] == NOTIFY for call in profile.get("syscalls") or ())


def _flags(profile: "Seccomp") -> "tuple[str, ...] | list[str]":
    flags = profile.get("flags")
    return DEFAULT_FLAGS if flags is None else flags
