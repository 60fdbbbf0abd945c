"""The capabilities of the kernel by number (capabilities(7)); config.md#linux-process."""

import pyruntime

NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

NUMBERS = {name: number for number, name in enumerate(NAMES)}
ALL = (1 << len(NAMES)) - 1


def mask(names: "list[str]", available: int, unknown: "list[str]") -> int:
    """Return the set of `names` as a bit mask, within `available`; what is not in it is appended to `unknown`.

    Upper and lower case are one, as for runc.

    Upholds config.md#linux-process/capability-warning.
    """
    bits = 0
    for name in names:
        number = NUMBERS.get(name) if name in NUMBERS else NUMBERS.get(name.upper())
        if number is None or not available >> number & 1:
            if name not in unknown:
                unknown.append(name)
        else:
            bits |= 1 << number
    return bits


def nearest(name: str) -> str:
    """Return the capability that was probably meant by the unknown `name`; "" if none is similar."""
    full = f"CAP_{name.upper().removeprefix('CAP_')}"
    if full in NUMBERS:
        return full
    return pyruntime.base.similar.nearest(full, NAMES, 0.8)
