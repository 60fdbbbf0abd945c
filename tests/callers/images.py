"""Images made on the spot, as the archives that `docker save` writes: containerd, Docker and Podman all load them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path


def make_archive(
    rootfs: Path, name: str, target: Path, leave_out: tuple[str, ...] = (), command: tuple[str, ...] = ("sh",)
) -> Path:
    """Write the image `name` with `rootfs` as its one layer to the file `target`.

    leave_out  paths in the rootfs whose content is left out
    command    what a container runs that is told nothing else
    """
    layer = target.with_name(f"{target.name}.layer")
    with tarfile.open(layer, "w") as archive:
        archive.add(
            rootfs,
            arcname=".",
            filter=lambda entry: None if entry.name.removeprefix("./").startswith(leave_out) else entry,
        )
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    # Under another name until it is whole: the archive may be kept for the next run.
    unfinished = target.with_name(f"{target.name}.new")
    with tarfile.open(unfinished, "w") as archive:
        for member, document in (("config.json", config), ("manifest.json", manifest)):
            content = json.dumps(document).encode()
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        archive.add(layer, arcname="layer.tar")
    layer.unlink()
    unfinished.rename(target)
    return target


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
