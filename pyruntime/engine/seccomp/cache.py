"""A cache of compiled seccomp filters, by content, because compiling one takes about as long as the rest of `create`.

    ROOT/~seccomp/NN    one filter; "~" is in no container's id

Each file has one filter and its whole key, which is compared; a hash alone is never trusted. The checksum of a key only
selects one of a fixed number of files. Profiles with the same checksum replace each other, so the directory does not
grow. A file is read only if nobody but its owner can write it; who can write there could also replace the container's
state. A reboot removes the cache. If it cannot be read or written, nothing fails.
"""

import _stat as stat

from pyruntime.base import lean_os as os

_DIRECTORY = "~seccomp"
_FILES = 61  # a prime number: what is left of a division by it depends on all of a key
_LARGEST = 16 << 20  # bytes; a profile of 5 MB is a hostile one, and its filter would not fit into the kernel
_PARTS = 3
_LENGTH = 4  # bytes, before each part


def _open(root: str) -> int:
    """Return a descriptor of the directory. Raises OSError when there is none, or others can write to it."""
    fd = os.open(f"{root}/{_DIRECTORY}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(fd)
        raise PermissionError(f"{root}/{_DIRECTORY}")
    return fd


def _name(key: bytes) -> str:
    return f"{int.from_bytes(key, 'little') % _FILES:02d}"


def _library(path: str) -> bytes:
    """Return an identification of the library file at `path`, which changes when the file is replaced."""
    status = os.stat(path)
    return f"{path}\n{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}".encode()


def load(root: str, key: bytes) -> bytes:
    """Return the program kept for `key` below the state root `root`, b"" when there is none.

    A program that another version of the library compiled is ignored: the installed one may compile it differently.
    """
    try:
        directory = _open(root)
        try:
            fd = os.open(_name(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return b""
            content = os.read(fd, status.st_size)
        finally:
            os.close(fd)
        kept, library, program = _split(content)
        if kept == key and library == _library(library.partition(b"\n")[0].decode()):
            return program
    except (OSError, ValueError):
        pass
    return b""


def _split(content: bytes) -> "list[bytes]":
    """Return the parts of a file. Raises ValueError when it is not whole."""
    position = _PARTS * _LENGTH
    parts = []
    for start in range(0, position, _LENGTH):
        length = int.from_bytes(content[start : start + _LENGTH], "little")
        parts.append(content[position : position + length])
        position += length
    if position != len(content):
        raise ValueError("not a kept filter")
    return parts


def save(root: str, key: bytes, library: str, program: bytes) -> None:
    """Keep `program`, made for `key` by the library at path `library`."""
    try:
        try:
            os.mkdir(f"{root}/{_DIRECTORY}", 0o700)
        except FileExistsError:
            pass
        directory = _open(root)
        try:
            _write(directory, _name(key), [key, _library(library), program])
        finally:
            os.close(directory)
    except OSError:
        pass


def _write(directory: int, name: str, parts: "list[bytes]") -> None:
    content = b"".join([*(len(part).to_bytes(_LENGTH, "little") for part in parts), *parts])
    if len(content) > _LARGEST:
        return
    # The file has no name until it is complete (O_TMPFILE, open(2)): a reader sees all of it or nothing, and a writer
    # that is killed leaves nothing. Where the file system cannot do that, the filter is not kept.
    fd = os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        if os.write(fd, content) != len(content):
            return
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory)
    finally:
        os.close(fd)
