"""Writes text to stdout and stderr, completely or with an error."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

STDOUT, STDERR = 1, 2


def write(text: str, fd: int = STDOUT) -> None:
    """Write `text` to `fd`; a byte of a path that is not UTF-8 goes out as it came in.

    Raises Error when the reader is gone or the disk is full: half an answer must not look like a whole one.
    """
    rest = memoryview(text.encode("utf-8", "surrogateescape"))
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError as error:
        raise Error("cannot write the output", errno=error.errno or 0) from None
