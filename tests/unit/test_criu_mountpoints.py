"""The places that restore makes for mounts: behind links of the image, and in what a bind mount shows."""

import os

import pytest

from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.engine.criu import inside, mountpoints


@pytest.fixture
def make(tmp_path):
    """Make the places of mounts, and return what is in the root filesystem and in `given` then."""
    for name in ("rootfs", "given"):
        (tmp_path / name).mkdir()

    def call(*mounts):
        rootfs = os.open(tmp_path / "rootfs", os.O_PATH)
        try:
            mountpoints.make(rootfs, {"mounts": list(mounts)}, str(tmp_path))
        finally:
            os.close(rootfs)
        return {
            str(path.relative_to(tmp_path)) for name in ("rootfs", "given") for path in (tmp_path / name).rglob("*")
        }

    return call


def bind(destination, *options, source="given"):
    return {"destination": destination, "type": "bind", "source": source, "options": ["bind", *options]}


@pytest.mark.parametrize("target", ["/opt/place", "opt/place", "../../opt/./place", "other", "/../opt/place"])
def test_a_link_leads_to_a_place_in_the_root_filesystem(make, tmp_path, target):
    os.symlink(target, tmp_path / "rootfs/data")
    os.symlink("/opt/place", tmp_path / "rootfs/other")
    assert make(bind("/data/below")) == {f"rootfs/{name}" for name in ("data", "other", "opt", "opt/place")} | {
        "rootfs/opt/place/below"
    }


def test_a_link_in_a_circle_is_left_to_criu(make, tmp_path):
    os.symlink("data", tmp_path / "rootfs/data")
    assert make(bind("/data")) == {"rootfs/data"}


def test_a_mount_on_a_link_itself_needs_no_place(make, tmp_path):
    os.symlink("/opt/place", tmp_path / "rootfs/data")
    assert make(bind("/data", "dest-nofollow")) == {"rootfs/data"}


def test_a_place_in_a_bind_mount_is_made_in_its_source(make):
    assert make(bind("/data"), bind("/data/deep/er")) == {"rootfs/data", "given/deep", "given/deep/er"}


def test_a_link_in_what_is_bound_leads_nowhere(make, tmp_path):
    """It would lead out of it."""
    os.symlink(tmp_path, tmp_path / "given/out")
    assert make(bind("/data"), bind("/data/out/side")) == {"rootfs/data", "given/out"}
    assert not (tmp_path / "side").exists()


def test_a_place_on_a_tmpfs_is_criu_s(make):
    assert make({"destination": "/data", "type": "tmpfs"}, bind("/data/deep")) == {"rootfs/data"}


def test_a_file_is_bound_on_a_file(make, tmp_path):
    (tmp_path / "given/file").write_text("")
    os.symlink("/opt/place", tmp_path / "rootfs/data")
    (tmp_path / "rootfs/opt").mkdir()
    make(bind("/data", source="given/file"))
    assert (tmp_path / "rootfs/opt/place").is_file()


@pytest.mark.parametrize("path", ["none", "file/none", "circle", "../out", "/out", "x" * 256])
def test_what_leads_nowhere_is_nothing(tmp_path, path):
    (tmp_path / "file").write_text("")
    os.symlink("circle", tmp_path / "circle")
    root = os.open(tmp_path, os.O_PATH)
    assert inside.find(root, path, 0, lib.RESOLVE_BENEATH) == -1
    os.close(root)


def test_what_cannot_be_looked_at_is_an_error():
    """It would be taken for nothing, and a mount there would not be checked."""
    with pytest.raises(Error, match=r"openat2\(place\) failed.*EBADF"):
        inside.find(1_000_000, "place", 0, 0)
