"""JSON documents of users, read strictly (glossary.md#json): a file gives one value, or one error with its place."""

from _json import make_scanner

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# More than any caller sends (a request to containerd ends at 16 MiB) and few enough bytes for a bomb to stay small.
LIMIT = 16 * 1024 * 1024

# Longer integers fit in no field of the spec, and converting them takes time that grows with the square.
_LONGEST_NUMBER = 400

# Levels of objects and arrays. How many an interpreter reads depends on its version and on the stack; this is less, and
# few enough for functions that call themselves for each level.
_DEEPEST = 256
_FEW = _DEEPEST // 2

_TYPE_MASK, _REGULAR = 0o170000, 0o100000  # S_IFMT, S_IFREG: inode(7)
_KINDS = {
    0o140000: "a socket",
    0o060000: "a block device",
    0o040000: "a directory",
    0o020000: "a character device",
    0o010000: "a FIFO",
}
_PATIENCE = 1000  # milliseconds after which a wait looks for signals
_STREAMS = (0o140000, 0o020000, 0o010000)
_SPACE = " \t\r\n"


class _DuplicateName(Exception):
    """An object with the same name twice; the scanner reports no place."""


class _TooDeep(Exception):
    """Objects and arrays on more than _DEEPEST levels."""


class _NotANumber(Exception):
    """NaN, Infinity or a number that is too long; the scanner reports no place."""


def _members(pairs: "list[tuple[str, object]]") -> "dict[str, object]":
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateName
    return members


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _NotANumber
    return int(text)


def _constant(name: str) -> object:
    raise _NotANumber


class _Settings:
    """The attributes that `_json.make_scanner` reads from its argument."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_members)
    parse_float = float
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)


# Scans one value: takes the text and the offset where it begins, and returns the value with the offset of its end.
# The C scanner is imported without its package json, whose import takes longer than all other work here. For a syntax
# error it raises json.decoder.JSONDecodeError, or SystemError if that module is not imported.
scan: "Callable[[str, int], tuple[object, int]]" = make_scanner(_Settings)  # type: ignore[arg-type]  # as in jsonio


def read(
    path: str,
    *,
    name: str = "",
    dir_fd: "int | None" = None,
    streams: bool = False,
    clause: str = "bundle.md#container-format",
) -> bytes:
    """Return the content of the regular file `path`.

    name     what to call the file in errors; default: `path`
    dir_fd   descriptor of the directory that a relative `path` starts from
    streams  read a pipe, FIFO, socket or terminal too, up to its end: for files that the caller names
    clause   for errors

    Raises Error if the file is missing, unreadable, larger than LIMIT bytes or not a regular file: reading a FIFO or a
    device could block.
    """
    name = name or path
    doing = f"cannot read {name}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, dir_fd=dir_fd)
    except OSError as error:
        raise Error(doing, errno=error.errno or 0, clause=clause) from None
    except ValueError as error:
        raise Error(doing, str(error), clause=clause) from None
    try:
        status = os.fstat(fd)
        kind = status.st_mode & _TYPE_MASK
        if kind != _REGULAR and not (streams and kind in _STREAMS):
            raise Error(doing, f"it is {_KINDS.get(kind, 'not a regular file')}, not a regular file", clause=clause)
        if kind != _REGULAR:
            _await(fd, doing, clause)
        data = os.read(fd, min(status.st_size, LIMIT) + 1)
        if (
            len(data) != status.st_size or kind != _REGULAR
        ):  # the file is changing, or its filesystem does not tell sizes
            chunk = data
            while chunk and len(data) <= LIMIT:
                if kind != _REGULAR:
                    _await(fd, doing, clause)
                chunk = os.read(fd, LIMIT + 1 - len(data))
                data += chunk
    except OSError as error:
        raise Error(doing, errno=error.errno or 0, clause=clause) from None
    finally:
        os.close(fd)
    if len(data) > LIMIT:
        raise Error(doing, f"it is larger than {LIMIT // 1024 // 1024} MiB", clause=clause)
    return data


def _await(fd: int, doing: str, clause: str) -> None:
    """Wait until `fd` can be read. Raises Error when a signal that is blocked asks to end: `exec` reads FIFOs, too."""
    import select  # late: only for what is no regular file

    from pyruntime._stub import lib  # late: as above, and `validate` needs no stub

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not os.call(poll.poll, _PATIENCE):
        number = lib.pyr_signal_to_end()
        if number:
            raise Error(doing, f"signal {number} came", clause=clause)


def parse(data: bytes, name: str) -> object:
    """Return the value of the JSON document `data`.

    name  what to call the document in errors

    Raises Error, with line and column, for what is not exactly one JSON document in UTF-8 without a byte order mark,
    and for duplicate names, NaN and Infinity, integers of absurd length, unpaired surrogates, and nesting deeper than
    _DEEPEST.
    """
    try:
        text = data.decode()
        # Only an escape can make a surrogate, and callers escape little but <, > and &.
        if "\\u" in text and ("\\ud" in text or "\\uD" in text):
            pyruntime.spec.json_syntax.refuse_surrogates(text)
        value, end = scan(text, 0 if text[:1] == "{" else len(text) - len(text.lstrip(_SPACE)))
        if text[end:] and text[end:].strip(_SPACE):
            raise ValueError
        # A document with fewer brackets cannot be deeper, and those that callers write have fewer. str.count is slower.
        if text.split("{", _FEW)[_FEW:] or text.split("[", _FEW)[_FEW:]:
            _limit_depth(value)
    except (ValueError, StopIteration, RecursionError, SystemError, _DuplicateName, _NotANumber, _TooDeep) as error:
        raise pyruntime.spec.json_syntax.explain(data, name, error, scan, _DEEPEST) from None
    return value


def _limit_depth(value: object) -> None:
    """Raise _TooDeep if objects and arrays stand in `value` on more than _DEEPEST levels."""
    level: list[object] = [[value]]
    for _ in range(_DEEPEST + 1):
        level = [
            part
            for whole in level
            for part in (whole.values() if isinstance(whole, dict) else whole)  # type: ignore[attr-defined]
            if isinstance(part, (dict, list))
        ]
        if not level:
            return
    raise _TooDeep
