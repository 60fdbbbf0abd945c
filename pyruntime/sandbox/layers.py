"""The layers of an image become a directory, one over the other (image-spec, layer.md).

Nothing that a layer names leads out of the directory: every path is resolved below it (openat2(2)). Owners are not
kept, and devices are left out.
"""

import contextlib
import errno
import gzip
import hashlib
import math
import os
import re
import shutil
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from pyruntime._stub import lib
from pyruntime.sandbox.result import SandboxError

_LARGEST_IMAGE = 64 << 30
# Bytes that are read at once; no header of a layer is larger.
_PIECE = 1 << 20
# Bytes of headers before one entry: extended headers, and the map of a sparse file.
_MOST_HEADERS = 4 << 20
_MOST_FILES = 2_000_000
# Directories, one in the other: so that a tree can be removed again, by functions that call themselves.
_DEEPEST = 200
_MOST_TRAILING = 64  # pieces of zeros or of anything else after the end of an archive
_MOST_GLOBAL = 1000  # keywords that hold for all entries that follow
# Types of layers of image-spec, and those of Docker; with the compression.
_LAYER = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.diff\.tar)"
    r"(?:[+.](gzip|zstd))?"
)
_Names = dict[str, Any]
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_RESOLVE = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_file(path: Path) -> "IO[bytes]":
    """Open a file to read, and wait for no FIFO. Raises OSError, also for what is no regular file."""
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115  # the caller's
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


class _Checked:
    """A file whose content is hashed while it is read."""

    def __init__(self, file: "IO[bytes]", digest: str) -> None:
        self._file = file
        self._algorithm, self._value = digest.split(":")
        self._hash = hashlib.new(self._algorithm)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def check(self) -> None:
        while self.read(1 << 20):
            pass
        if self._hash.hexdigest() != self._value:
            raise SandboxError(f"image: the content of {self._algorithm}:{self._value} is not what its digest says")


@contextlib.contextmanager
def _decompressed(file: _Checked, how: "str | None") -> "Iterator[Any]":
    """Yield the content of a layer as a file to read from."""
    if how is None:
        yield file
    elif how == "gzip":
        yield gzip.GzipFile(fileobj=cast(Any, file))
    else:
        with _by_program(file) as output:
            yield output


@contextlib.contextmanager
def _by_program(file: _Checked) -> "Iterator[IO[bytes]]":
    """Yield what zstd(1) makes of a file; a thread feeds it. Raises SandboxError if there is no such program."""
    program = shutil.which("zstd")
    if program is None:
        raise SandboxError(
            "image: a layer is compressed with zstd: install the program zstd, "
            "or convert the image by skopeo copy --dest-compress-format gzip"
        )
    with subprocess.Popen(
        [program, "--decompress", "--stdout", "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        thread = threading.Thread(target=_feed, args=(file, process.stdin))
        thread.start()
        try:
            yield process.stdout
            # What follows the archive, which ends before the stream does.
            for _ in range(_MOST_TRAILING):
                if not process.stdout.read(_PIECE):
                    break
            else:
                raise SandboxError("image: a layer goes on after the end of its archive")
        finally:
            # If the layer was not read to its end, this ends the program, and that the thread.
            process.stdout.close()
            thread.join()
    if process.returncode:
        raise OSError("a layer is no stream of zstd")


def _feed(file: _Checked, pipe: "IO[bytes]") -> None:
    with contextlib.suppress(OSError), pipe:
        while data := file.read(1 << 20):
            pipe.write(data)


class _Forward:
    """A stream as the file that tarfile reads an archive from: it is read once, to the end, and piece by piece.

    left  bytes that may be read yet, besides what is skipped; an error if more are asked for

    tarfile reads the content of a file in pieces, and a header as a whole, whatever size the archive gives it. So a
    large piece is a header that would fill the memory. (Nothing but the file is ours to bound it by: the methods that
    read headers differ between versions of tarfile.)
    """

    def __init__(self, stream: "IO[bytes]") -> None:
        self._stream = stream
        self._position = 0
        self.left: float = _MOST_HEADERS

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position:
            if not self._read(min(position - self._position, _PIECE)):
                break
        if self._position > position:
            raise tarfile.StreamError("a layer is read forwards")
        return self._position

    def read(self, size: int) -> bytes:
        if size > _PIECE:
            raise SandboxError(f"image: a layer has a header of {size} bytes")
        self.left -= size
        if self.left < 0:
            raise SandboxError(f"image: a layer has headers of more than {_MOST_HEADERS} bytes for one entry")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        if self._position > _LARGEST_IMAGE:
            raise SandboxError(f"image: a layer has more than {_LARGEST_IMAGE} bytes")
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._position += len(piece)
        return b"".join(pieces)


class Unpacking:
    """Layers on their way into a directory."""

    def __init__(self, place: Path) -> None:
        self._root = str(place)
        self._size = self._files = 0
        # What this layer has put there: name -> the same for what is below.
        self._added: _Names = {}

    def layer(self, path: Path, layer: "dict[str, Any]") -> None:
        """Unpack the file of a layer; `layer` is its descriptor."""
        kind = str(layer.get("mediaType", ""))
        match = _LAYER.fullmatch(kind)
        if not match:
            raise SandboxError(f"image: cannot read a layer of type {kind!r:.200}")
        self._added = {}
        with open_file(path) as raw:
            checked = _Checked(raw, str(layer["digest"]))
            with (
                _decompressed(checked, match[1]) as source,
                tarfile.TarFile(fileobj=cast(Any, forward := _Forward(source)), errorlevel=2) as archive,
            ):
                while member := archive.next():
                    if len(archive.pax_headers) > _MOST_GLOBAL:
                        raise SandboxError(f"image: a layer has more than {_MOST_GLOBAL} global headers")
                    if sum(map(len, archive.pax_headers.values())) > _MOST_HEADERS:
                        raise SandboxError(f"image: a layer has global headers of more than {_MOST_HEADERS} bytes")
                    forward.left = math.inf
                    self._member(archive, member)
                    forward.left = _MOST_HEADERS
                    cast(Any, archive).members.clear()  # tarfile keeps every entry
            checked.check()

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in member.name:
            raise SandboxError(f"image: a layer has the path {member.name!r:.200}")
        if not parts:
            return
        if len(parts) > _DEEPEST:
            raise SandboxError(f"image: a layer has a path of more than {_DEEPEST} names")
        *above, name = parts
        folder = self._folder("/".join(above), make=True)
        try:
            if name == _OPAQUE:
                self._clear(folder, self._noted(above))
            elif name.startswith(_WHITEOUT):
                hidden = name[len(_WHITEOUT) :]
                if hidden in ("", ".", ".."):
                    raise SandboxError(f"image: a layer has the whiteout {member.name!r:.200}")
                self._hide(folder, hidden, self._noted([*above, hidden]))
            else:
                self._make(archive, member, folder, name)
                self._note(parts)
        finally:
            os.close(folder)

    def _note(self, parts: "list[str]") -> None:
        """Note that this layer has something at a path, and directories above, of which it may have no entry."""
        names = self._added
        for part in parts:
            if part not in names:
                self._files += 1
                if self._files > _MOST_FILES:
                    raise SandboxError(f"image: it has more than {_MOST_FILES} files")
            names = names.setdefault(part, {})

    def _noted(self, parts: "list[str]") -> "_Names | None":
        """Return what this layer has below a path; None if it has nothing at the path."""
        names: _Names | None = self._added
        for part in parts:
            names = None if names is None else names.get(part)
        return names

    def _folder(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor of a directory, resolved as inside of the image. With `make` it is made if missing."""
        fd = self._open(path)
        if fd == -errno.ENOENT and make:
            parent, done = self._folder(""), ""
            for name in path.split("/"):
                done += name
                try:
                    fd = self._open(done)
                    if fd == -errno.ENOENT:
                        _make_directory(parent, name)
                        fd = self._open(done)
                finally:
                    os.close(parent)
                if fd < 0:
                    break
                parent = fd
                done += "/"
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd), path)
        return fd

    def _open(self, path: str) -> int:
        """Return a descriptor of a directory, or -errno."""
        root = os.open(self._root, _FOLDER)
        try:
            return int(lib.pyr_openat2(root, os.fsencode(path or "."), _FOLDER, 0, _RESOLVE))
        finally:
            os.close(root)

    def _clear(self, folder: int, added: "_Names | None") -> None:
        """Remove what lower layers have in a directory."""
        for name in os.listdir(folder):
            self._hide(folder, name, (added or {}).get(name))

    def _hide(self, folder: int, name: str, added: "_Names | None") -> None:
        """Remove what lower layers have at a path; what this layer has there stays, whatever stands first in it."""
        if added is None:
            _remove(folder, name)
        elif stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            try:
                self._clear(inner, added)
            finally:
                os.close(inner)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: int, name: str) -> None:
        mode = member.mode & 0o777
        if member.isdir():
            if not _is_directory(folder, name):
                _remove(folder, name)
                _make_directory(folder, name)
            # Its owner, who unpacks the image and may remove it, can write there; programs see it read-only.
            os.chmod(name, mode | 0o700, dir_fd=folder)
            return
        _remove(folder, name)
        if not (member.isreg() or member.issym() or member.islnk()):
            return  # devices and FIFOs: the sandbox has its own
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=folder)
        elif member.islnk():
            self._link(member, folder, name)
        else:
            self._size += member.size
            if self._size > _LARGEST_IMAGE:
                raise SandboxError(f"image: it has more than {_LARGEST_IMAGE} bytes")
            fd = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            with open(fd, "wb") as file:
                content = archive.extractfile(member)
                assert content is not None
                shutil.copyfileobj(content, file, _PIECE)
                os.fchmod(fd, mode)

    def _link(self, member: tarfile.TarInfo, folder: int, name: str) -> None:
        parts = [part for part in member.linkname.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            raise SandboxError(f"image: a layer links to {member.linkname!r:.200}")
        source = self._folder("/".join(parts[:-1]))
        try:
            os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)


def _is_directory(folder: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _make_directory(folder: int, name: str) -> None:
    """Make a directory, unless it is too deep: links lead deeper than a path can name."""
    if os.readlink(f"/proc/self/fd/{folder}").count("/") > _DEEPEST:
        raise SandboxError(f"image: it has more than {_DEEPEST} directories one in the other")
    os.mkdir(name, 0o755, dir_fd=folder)


def _remove(folder: int, name: str) -> None:
    """Remove what is called `name` in a directory, with all below it; nothing where there is nothing."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for entry in os.listdir(inner):
                _remove(inner, entry)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)
