"""The layers of an image become a directory, one over the other (image-spec, layer.md).

Nothing that a layer names leads out of the directory: every path is resolved below it (openat2(2)). Owners are not
kept, and devices are left out.
"""

import contextlib
import errno
import gzip
import hashlib
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
_MOST_FILES = 5_000_000
_MOST_GLOBAL = 1000  # keywords that hold for all entries that follow
# Types of layers of image-spec, and those of Docker; with the compression.
_LAYER = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.diff\.tar)"
    r"(?:[+.](gzip|zstd))?"
)
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_RESOLVE = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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
            while process.stdout.read(1 << 20):
                pass
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

    tarfile reads the content of a file in pieces, and a header as a whole, whatever size the archive gives it. So a
    large piece is a header that would fill the memory. (Nothing but the file is ours to bound it by: the methods that
    read headers differ between versions of tarfile.)
    """

    def __init__(self, stream: "IO[bytes]") -> None:
        self._stream = stream
        self._position = 0

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position:
            if not self.read(min(position - self._position, _PIECE)):
                break
        if self._position > position:
            raise tarfile.StreamError("a layer is read forwards")
        return self._position

    def read(self, size: int) -> bytes:
        if size > _PIECE:
            raise SandboxError(f"image: a layer has a header of {size} bytes")
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
        self._modes: dict[str, int] = {}
        self._size = self._files = 0
        self._added: set[str] = set()

    def layer(self, path: Path, layer: "dict[str, Any]") -> None:
        """Unpack the file of a layer; `layer` is its descriptor."""
        kind = str(layer.get("mediaType", ""))
        match = _LAYER.fullmatch(kind)
        if not match:
            raise SandboxError(f"image: cannot read a layer of type {kind!r:.200}")
        self._added = set()
        with open(path, "rb") as raw:
            checked = _Checked(raw, str(layer["digest"]))
            with (
                _decompressed(checked, match[1]) as source,
                tarfile.TarFile(fileobj=cast(Any, _Forward(source)), errorlevel=2) as archive,
            ):
                while member := archive.next():
                    if len(archive.pax_headers) > _MOST_GLOBAL:
                        raise SandboxError(f"image: a layer has more than {_MOST_GLOBAL} global headers")
                    self._member(archive, member)
                    cast(Any, archive).members.clear()  # tarfile keeps every entry
            checked.check()

    def finish(self) -> None:
        """Give the directories their modes, which may forbid to write: the deepest first."""
        for name in sorted(self._modes, reverse=True):
            with contextlib.suppress(OSError):
                fd = self._folder(name)
                try:
                    os.fchmod(fd, self._modes[name] & 0o777 | 0o500)
                finally:
                    os.close(fd)

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in member.name:
            raise SandboxError(f"image: a layer has the path {member.name!r:.200}")
        if not parts:
            return
        self._files += 1
        if self._files > _MOST_FILES:
            raise SandboxError(f"image: it has more than {_MOST_FILES} files")
        *above, name = parts
        folder = self._folder("/".join(above), make=True)
        try:
            path = "/".join(parts)
            if name == _OPAQUE:
                self._clear(folder, "/".join(above))
            elif name.startswith(_WHITEOUT):
                hidden = name[len(_WHITEOUT) :]
                if hidden in ("", ".", ".."):
                    raise SandboxError(f"image: a layer has the whiteout {member.name!r:.200}")
                self._hide(folder, hidden, "/".join([*above, hidden]))
            else:
                self._make(archive, member, folder, name, path)
                # With the directories above it, of which the layer may have no entry.
                self._added.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        finally:
            os.close(folder)

    def _folder(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor of a directory, resolved as inside of the image."""
        root = os.open(self._root, _FOLDER)
        try:
            fd = int(lib.pyr_openat2(root, os.fsencode(path or "."), _FOLDER, 0, _RESOLVE))
            if fd == -errno.ENOENT and make:
                above, _, name = path.rpartition("/")
                parent = self._folder(above, make=True)
                try:
                    os.mkdir(name, 0o755, dir_fd=parent)
                finally:
                    os.close(parent)
                fd = int(lib.pyr_openat2(root, os.fsencode(path), _FOLDER, 0, _RESOLVE))
        finally:
            os.close(root)
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd), path)
        return fd

    def _clear(self, folder: int, path: str) -> None:
        """Remove what lower layers have in a directory."""
        for name in os.listdir(folder):
            inside = f"{path}/{name}".lstrip("/")
            self._hide(folder, name, inside)

    def _hide(self, folder: int, name: str, path: str) -> None:
        """Remove what lower layers have at a path; what this layer has there stays, whatever stands first in it."""
        if path not in self._added:
            _remove(folder, name)
        elif stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            try:
                self._clear(inner, path)
            finally:
                os.close(inner)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: int, name: str, path: str) -> None:
        mode = member.mode & 0o777
        if member.isdir():
            try:
                os.mkdir(name, 0o755, dir_fd=folder)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    _remove(folder, name)
                    os.mkdir(name, 0o755, dir_fd=folder)
            self._modes[path] = mode
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
