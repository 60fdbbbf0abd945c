"""The arguments of a sandbox: checked when it is made, each wrong one a ValueError that names it."""

import math
import os
import re

_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_MOST = 1 << 62


def size(name: str, value: object, least: int = 1) -> int:
    """Return bytes for an integer or a text like "64M" (1024 based). Raises ValueError."""
    found: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str) and len(value) <= 40:
        match = _SIZE.fullmatch(value.strip())
        if match:
            found = int(match[1]) << _UNITS[match[2].lower()]
    if found is None:
        raise ValueError(f'{name}: expected bytes, or a text like "64M", not {value!r:.80}')
    if not least <= found <= _MOST:
        raise ValueError(f"{name}: expected at least {least} bytes, and no more than 4E, not {value!r:.80}")
    return found


def count(name: str, value: object, least: int = 1, most: int = 4_000_000) -> int:
    """Return a whole number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name}: expected a whole number from {least} to {most}, not {value!r:.80}")
    return value


def number(name: str, value: object, least: float, most: float) -> float:
    """Return a number of CPUs or of seconds. Raises ValueError."""
    wrong = isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value)
    if wrong or not least <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{name}: expected a number from {least} to {most}, not {value!r:.80}")
    return float(value)  # type: ignore[arg-type]


def seconds(name: str, value: object) -> "float | None":
    """Return a time in seconds, None for None. Raises ValueError."""
    return None if value is None else number(name, value, 0.0, 1e9)


def text(name: str, value: object) -> str:
    """Return a text that can be a word of a command or of the environment. Raises ValueError."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected text, not {value!r:.80}")
    if "\0" in value:
        raise ValueError(f"{name}: a NUL cannot be passed on: {value!r:.80}")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError(f"{name}: it has half of a surrogate pair: {value!r:.80}") from None
    return value


def command(args: object) -> "list[str]":
    """Return the words of a command. Raises ValueError."""
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        raise ValueError(f'args: expected a list of words, like ["ls", "-l"], not {args!r:.80}')
    words = [text("args", word) for word in args]
    if not words or not words[0]:
        raise ValueError("args: expected the name of a program")
    return words


def data(name: str, value: object) -> "bytes | None":
    """Return bytes for bytes or text, None for None. Raises ValueError."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise ValueError(f"{name}: expected bytes or text, not {value!r:.80}")


def environment(name: str, values: object) -> "dict[str, str]":
    """Return an environment. Raises ValueError."""
    if not isinstance(values, dict):
        raise ValueError(f"{name}: expected a dict, not {values!r:.80}")
    found = {}
    for key, value in values.items():
        if not isinstance(key, str) or not key or "=" in key:
            raise ValueError(f"{name}: {key!r:.80} cannot be the name of a variable")
        found[text(name, key)] = text(name, value)
    return found


def inside(name: str, value: object) -> str:
    """Return an absolute path in the container, without "." and "..". Raises ValueError."""
    path = text(name, value)
    if not path.startswith("/"):
        raise ValueError(f"{name}: expected an absolute path, not {path!r:.80}")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{name}: {path!r:.80} has '..'")
    return "/" + "/".join(parts)
