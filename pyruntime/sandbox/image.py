"""An image in an OCI layout, as skopeo and umoci keep it, becomes a root filesystem in a cache (image-spec, layer.md).

The layers are unpacked one over the other, once for each image. Nothing that a layer names leads out of the new
directory: every path is resolved below it (openat2(2)). Owners are not kept, and devices are left out.
"""

import contextlib
import errno
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any, cast

from pyruntime._stub import lib
from pyruntime.sandbox.result import SandboxError

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAME = "org.opencontainers.image.ref.name"
_LARGEST_DOCUMENT = 4 << 20
_LARGEST_IMAGE = 64 << 30
_MOST_FILES = 5_000_000
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_RESOLVE = lib.RESOLVE_IN_ROOT | lib.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def unpacked(image: str) -> "tuple[str, dict[str, str]]":
    """Return the directory with the image's root filesystem, and its environment.

    Raises ValueError where `image` names none, SandboxError where it is damaged or cannot be unpacked.
    """
    layout, tag = _split(image)
    digest = _manifest_of(layout, tag, image)
    manifest = _document(layout, digest)
    layers = manifest.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise SandboxError(f"image: the manifest {digest} has no layers")
    cache = _cache()
    target = cache / digest.replace(":", "-")
    if not target.is_dir():
        _unpack(layout, layers, cache, target)
    return str(target), _environment(layout, manifest)


def _split(image: object) -> "tuple[Path, str]":
    if not isinstance(image, str) or not image.startswith("oci:"):
        raise ValueError(f'image: expected "oci:LAYOUT:TAG", not {image!r:.200}')
    path, _, tag = image[len("oci:") :].partition(":")
    layout = Path(path).absolute()
    if not (layout / "index.json").is_file():
        raise ValueError(f"image: {str(layout)!r:.200} is not an OCI layout: it has no index.json")
    return layout, tag or "latest"


def _cache() -> Path:
    if os.geteuid() == 0:
        path = Path("/var/cache/pyruntime/images")
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pyruntime", "images")
    # The images are the root of other users' processes, which look for files from there on.
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid() or path.stat().st_mode & 0o022:
        raise SandboxError(f"the directory {path} is not this user's alone to write to")
    return path


def _blob(layout: Path, digest: object) -> Path:
    """Return the file of a digest. Raises SandboxError for what is none."""
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if not match:
        raise SandboxError(f"image: {digest!r:.200} is not a digest")
    algorithm, value = str(digest).split(":")
    return layout / "blobs" / algorithm / value


def _document(layout: Path, digest: object) -> "dict[str, Any]":
    """Return a JSON document of the layout, whose content is what its digest says. Raises SandboxError."""
    try:
        with open(_blob(layout, digest), "rb") as file:
            data = file.read(_LARGEST_DOCUMENT + 1)
        algorithm, value = str(digest).split(":")
        if len(data) > _LARGEST_DOCUMENT or hashlib.new(algorithm, data).hexdigest() != value:
            raise SandboxError(f"image: the content of {digest} is not what its digest says")
        document = json.loads(data)
    except OSError as error:
        raise SandboxError(f"image: cannot read {digest}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise SandboxError(f"image: {digest} is not JSON") from None
    if not isinstance(document, dict):
        raise SandboxError(f"image: {digest} is not a JSON object")
    return document


def _manifest_of(layout: Path, tag: str, image: str) -> str:
    """Return the digest of the manifest with this tag, for this machine."""
    try:
        index = json.loads((layout / "index.json").read_text())
        found = [
            entry
            for entry in index["manifests"]
            if (entry.get("annotations") or {}).get(_NAME) == tag or entry.get("digest") == tag
        ]
        for _ in range(4):
            if not found:
                raise ValueError(f"image: {image!r:.200}: the layout has no tag {tag!r:.80}")
            if found[0].get("mediaType") not in _INDEXES:
                return str(found[0]["digest"])
            machine = _MACHINES.get(platform.machine(), platform.machine())
            found = [
                entry
                for entry in _document(layout, found[0]["digest"])["manifests"]
                if (entry.get("platform") or {}).get("architecture") == machine
                and (entry.get("platform") or {}).get("os") == "linux"
            ]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise SandboxError(f"image: {layout}/index.json is not an index of images: {error!r:.100}") from None
    raise SandboxError(f"image: {image!r:.200} has indexes in indexes")


def _environment(layout: Path, manifest: "dict[str, Any]") -> "dict[str, str]":
    config = _document(layout, (manifest.get("config") or {}).get("digest"))
    entries = (config.get("config") or {}).get("Env") or []
    return {
        name: value
        for name, equals, value in (entry.partition("=") for entry in entries if isinstance(entry, str))
        if name and equals and "\0" not in value
    }


def _unpack(layout: Path, layers: "list[dict[str, Any]]", cache: Path, target: Path) -> None:
    """Unpack the layers beside `target`, and put them in its place when they are complete."""
    place = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache))
    try:
        place.chmod(0o755)
        unpacking = _Unpacking(place)
        for layer in layers:
            unpacking.layer(layout, layer)
        unpacking.finish()
        try:
            place.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Somebody else was quicker.
    except (OSError, EOFError, tarfile.TarError, gzip.BadGzipFile) as error:
        raise SandboxError(f"image: cannot unpack: {error}") from None
    finally:
        if place.exists():
            _remove_tree(place)


def _remove_tree(path: Path) -> None:
    def retry(function: "Any", name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            if not os.path.islink(name):
                os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=retry)


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


class _Unpacking:
    """Layers on their way into a directory."""

    def __init__(self, place: Path) -> None:
        self._root = str(place)
        self._modes: dict[str, int] = {}
        self._size = self._files = 0
        self._added: set[str] = set()

    def layer(self, layout: Path, layer: "dict[str, Any]") -> None:
        kind = str(layer.get("mediaType", ""))
        if "zstd" in kind:
            raise SandboxError(
                "image: cannot read layers compressed with zstd; skopeo copy --dest-compress-format gzip converts them"
            )
        self._added = set()
        with open(_blob(layout, layer.get("digest")), "rb") as raw:
            checked = _Checked(raw, str(layer["digest"]))
            source: Any = gzip.GzipFile(fileobj=cast(Any, checked)) if "gzip" in kind else checked
            with tarfile.open(fileobj=source, mode="r|", errorlevel=2) as archive:
                for member in archive:
                    self._member(archive, member)
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
                _remove(folder, hidden)
            else:
                self._make(archive, member, folder, name, path)
                self._added.add(path)
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
            if inside not in self._added:
                _remove(folder, name)
            elif stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    self._clear(inner, inside)
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
        if not (member.isreg() or member.issym() or member.islnk()):
            return  # devices and FIFOs: the sandbox has its own
        _remove(folder, name)
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
                shutil.copyfileobj(content, file, 1 << 20)
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
