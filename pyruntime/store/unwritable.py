"""The Error for a file of a container's state that the kernel refuses to write. Loaded only then."""

from errno import EDQUOT, ENOSPC, EROFS

from pyruntime.base.errors import Error

_ADVICE = {
    ENOSPC: "make room in the filesystem that it is in",
    EDQUOT: "make room within the quota",
    EROFS: "the filesystem that it is in must be mounted read-write; --root chooses another place for new containers",
}


def unwritable(doing: str, path: str, error: OSError) -> Error:
    """Return the Error for the file or directory `path`; `doing` says what was to be done to it: "write"."""
    number = error.errno or 0
    return Error(f"cannot {doing} {path}", errno=number, advice=_ADVICE.get(number, ""))
