"""Skopeo and umoci make the bundle out of an image: `skopeo copy`, `umoci unpack`, `pyruntime run`."""

import re
import shutil

import pytest
from calling import Caller, containers_in, need
from ordinary import Ordinary

_SCRIPT = "tty; id; ps -o pid,args; exit 3"


class _Images:
    """An image layout in `place`, which Skopeo fills and umoci takes bundles from; `caller` makes a Caller."""

    def __init__(self, place, caller, unpack=()) -> None:
        need("skopeo", "umoci", "script")
        self.place = place
        self.skopeo = caller(["skopeo"])
        self.umoci = caller(["umoci"], {"unpack": unpack})

    def copy(self, archive) -> None:
        self.skopeo("copy", f"docker-archive:{archive}", f"oci:{self.place}/layout:box")

    def command(self, *words) -> None:
        """Make `words` the command of the image."""
        options = [option for word in words for option in ("--config.cmd", word)]
        self.umoci("config", "--image", f"{self.place}/layout:box", *options)

    def unpack(self, tag, name):
        """Unpack an image into a new bundle, and return that."""
        self.umoci("unpack", "--image", f"{self.place}/layout:{tag}", f"{self.place}/{name}")
        return self.place / name


def _check(done) -> None:
    """Look at what _SCRIPT says."""
    assert "/dev/pts/0" in done.stdout
    assert "uid=0(root)" in done.stdout
    assert re.search(r"^ +1 sh -c", done.stdout, re.MULTILINE)


@pytest.fixture
def runtime(tmp_path, pyruntime):
    """pyruntime with a --root of its own; no container may be left."""
    yield Caller([pyruntime, "--root", tmp_path / "run"])
    assert containers_in(tmp_path / "run") == []


def test_an_image_becomes_a_container(tmp_path, image, runtime, session):
    """With a terminal, which umoci always asks for."""
    images = _Images(tmp_path, Caller)
    images.copy(image)
    images.command("sh", "-c", _SCRIPT)
    bundle = images.unpack("box", "bundle")
    assert "valid" in runtime("validate", "--bundle", bundle).stdout
    _check(runtime("run", "--bundle", bundle, f"{session}-umoci", status=3, terminal=True))


def test_an_image_becomes_a_container_of_an_ordinary_user(image, ordinary: Ordinary, session):
    images = _Images(ordinary.home, ordinary.caller, unpack=["--rootless"])
    images.copy(shutil.copy(image, ordinary.home / "image.tar"))
    images.command("sh", "-c", _SCRIPT)
    bundle = images.unpack("box", "bundle")
    _check(ordinary.caller([ordinary.program])("run", "--bundle", bundle, f"{session}-umoci", status=3, terminal=True))
    assert containers_in(ordinary.runtime_root) == []


def test_what_a_container_writes_becomes_a_layer(tmp_path, image, runtime, session):
    images = _Images(tmp_path, Caller)
    images.copy(image)
    images.command("sh", "-c", "echo text > /made; rm /bin/vi")
    bundle = images.unpack("box", "bundle")
    runtime("run", "--bundle", bundle, f"{session}-umoci", terminal=True)
    images.umoci("repack", "--image", f"{tmp_path}/layout:changed", bundle)
    changed = images.unpack("changed", "changed")
    assert (changed / "rootfs/made").read_text() == "text\n"
    assert not (changed / "rootfs/bin/vi").is_symlink()
