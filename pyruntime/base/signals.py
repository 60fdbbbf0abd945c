"""Signals by name and number, as signal(7) lists them for x86_64 and aarch64."""

import pyruntime
from pyruntime.base.errors import Error

# The `signal` module would bring enum with it; these numbers are the kernel's ABI and cannot change.
NUMBERS = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "ILL": 4,
    "TRAP": 5,
    "ABRT": 6,
    "IOT": 6,
    "BUS": 7,
    "FPE": 8,
    "KILL": 9,
    "USR1": 10,
    "SEGV": 11,
    "USR2": 12,
    "PIPE": 13,
    "ALRM": 14,
    "TERM": 15,
    "STKFLT": 16,
    "CHLD": 17,
    "CLD": 17,
    "CONT": 18,
    "STOP": 19,
    "TSTP": 20,
    "TTIN": 21,
    "TTOU": 22,
    "URG": 23,
    "XCPU": 24,
    "XFSZ": 25,
    "VTALRM": 26,
    "PROF": 27,
    "WINCH": 28,
    "IO": 29,
    "POLL": 29,
    "PWR": 30,
    "SYS": 31,
}
# The real-time range as the C library counts it: the kernel's 32 and 33 are its own.
RTMIN, RTMAX = 34, 64


def parse(text: str) -> int:
    """Return the number of the signal called `text`: "SIGTERM", "TERM", "term", "15", "RTMIN+3", "RTMAX-1".

    0 is allowed: kill(2) then only checks that the process is there. Raises Error for anything else.
    """
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 4 else RTMAX + 1
        if number <= RTMAX:
            return number
        raise Error(f"unknown signal {text}", f"signals have numbers from 1 to {RTMAX}")
    name = text.upper().removeprefix("SIG")
    known = NUMBERS.get(name) or _real_time(name)
    if known:
        return known
    raise Error(f"unknown signal {text!r}", advice=_nearest(name))


def name(number: int) -> str:
    """Return the name of signal `number`, "SIGTERM" or "SIGRTMIN+3"; its digits where it has none."""
    if RTMIN <= number <= RTMAX:
        return f"SIGRTMIN+{number - RTMIN}" if number > RTMIN else "SIGRTMIN"
    for known, value in NUMBERS.items():
        if value == number:
            return f"SIG{known}"
    return str(number)


def _real_time(name: str) -> int:
    """Return the number of "RTMIN+n" or "RTMAX-n", 0 when `name` is neither or out of range."""
    for base, sign, first in (("RTMIN", "+", RTMIN), ("RTMAX", "-", RTMAX)):
        if not name.startswith(base):
            continue
        rest = name[len(base) :]
        if not rest:
            return first
        digits = rest[1:]
        if rest[0] == sign and digits.isascii() and digits.isdigit() and len(digits) < 3:
            number = first + int(digits) if sign == "+" else first - int(digits)
            return number if RTMIN <= number <= RTMAX else 0
    return 0


def _nearest(name: str) -> str:
    """Return a hint at the signal that was probably meant, or nothing."""
    near = pyruntime.base.similar.nearest(name, NUMBERS)
    return f"did you mean SIG{near}?" if near else ""
