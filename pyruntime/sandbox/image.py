"""Unpacks an image in an OCI layout, as skopeo and umoci write it, into a cache of root filesystems.

It is unpacked once. Every document and layer is checked against its digest.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyruntime.sandbox.layers import Unpacking, open_file
from pyruntime.sandbox.result import SandboxError

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAME = "org.opencontainers.image.ref.name"
_LARGEST_DOCUMENT = 4 << 20


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
        with _shared(cache):
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


def blob(layout: Path, digest: object) -> Path:
    """Return the file of a digest. Raises SandboxError for what is none."""
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if not match:
        raise SandboxError(f"image: {digest!r:.200} is not a digest")
    algorithm, value = str(digest).split(":")
    return layout / "blobs" / algorithm / value


def _document(layout: Path, digest: object) -> "dict[str, Any]":
    """Return a JSON document of the layout, whose content is what its digest says. Raises SandboxError."""
    data = _content(blob(layout, digest), str(digest))
    algorithm, value = str(digest).split(":")
    if hashlib.new(algorithm, data).hexdigest() != value:
        raise SandboxError(f"image: the content of {digest} is not what its digest says")
    return _parsed(data, str(digest))


def _content(path: Path, name: str) -> bytes:
    """Return the content of a file that is no larger than a document may be. Raises SandboxError."""
    try:
        with open_file(path) as file:
            data = file.read(_LARGEST_DOCUMENT + 1)
    except OSError as error:
        raise SandboxError(f"image: cannot read {name}: {error.strerror}") from None
    if len(data) > _LARGEST_DOCUMENT:
        raise SandboxError(f"image: {name} has more than {_LARGEST_DOCUMENT} bytes")
    return data


def _parsed(data: bytes, name: str) -> "dict[str, Any]":
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise SandboxError(f"image: {name} is not JSON") from None
    if not isinstance(document, dict):
        raise SandboxError(f"image: {name} is not a JSON object")
    return document


def _manifest_of(layout: Path, tag: str, image: str) -> str:
    """Return the digest of the manifest with this tag, for this machine."""
    try:
        index = _parsed(_content(layout / "index.json", f"{layout}/index.json"), f"{layout}/index.json")
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
    except (KeyError, TypeError, AttributeError) as error:
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


@contextlib.contextmanager
def _shared(cache: Path) -> "Iterator[None]":
    """Hold a shared lock of the cache (flock(2)). An exclusive holder removes what killed processes have left."""
    fd = os.open(cache, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in cache.glob("unpacking-*"):
                _remove_tree(left)
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def _unpack(layout: Path, layers: "list[dict[str, Any]]", cache: Path, target: Path) -> None:
    """Unpack the layers beside `target`, and put them in its place when they are complete."""
    place = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache))
    try:
        place.chmod(0o755)
        unpacking = Unpacking(place)
        for layer in layers:
            unpacking.layer(blob(layout, layer.get("digest")), layer)
        try:
            place.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process has unpacked it meanwhile.
    # ValueError and RecursionError: tarfile's, of an archive that was made by hand.
    except (OSError, EOFError, ValueError, RecursionError, tarfile.TarError, zlib.error) as error:
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
