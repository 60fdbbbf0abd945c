"""checkpoint and restore of hostile root filesystems: no link or name in them leads to a place of the host."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from criu import criu, images

from pyruntime.engine.criu import rpc

__all__ = ["criu", "images"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_masked_path_with_a_link_on_its_way_is_looked_for_in_the_container(runtime, bundle, criu, tmp_path):
    """Where it led to a device of the host, CRIU would be told of a mount that the container does not have."""
    outside = tmp_path / "outside"
    outside.mkdir()
    os.mknod(outside / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def change(config):
        config["process"]["args"] = ["sleep", "1000"]
        config["linux"]["maskedPaths"] = ["/trap/null", "/inside/file", "/proc/keys"]

    place = bundle(change, own=True)
    (place / "rootfs/trap").symlink_to(outside)
    (place / "rootfs/real").mkdir()
    (place / "rootfs/real/file").touch()
    (place / "rootfs/inside").symlink_to("/real")
    container = runtime.id()
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.run(runtime.command("run", "-d", "-b", place, container), check=True, timeout=60, **null)
    runtime("checkpoint", "--leave-running", "--image-path", tmp_path / "dump", container, env=criu.environment)
    asked = [entry["key"] for entry in criu.options(rpc.DUMP)["ext_mnt"]]
    assert "/trap/null" not in asked
    assert "/real/file" in asked  # where the link leads in the container
    assert "/proc/keys" in asked


def test_a_root_filesystem_that_leads_out_of_the_bundle_is_not_restored(runtime, bundle, criu, images, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()

    def change(config):
        config["root"]["path"] = "elsewhere"
        config["mounts"].append({"destination": "/made", "type": "tmpfs"})

    place = bundle(change)
    (place / "elsewhere").symlink_to(outside)
    container = runtime.id()
    done = runtime("restore", "-d", "--image-path", images, "-b", place, container, env=criu.environment, check=False)
    assert done.returncode == 1
    assert "it leads out of the bundle" in done.stderr
    assert not os.listdir(outside)
    assert not (runtime.root / container).exists()
    assert not (criu.place / "requests").exists() or "notify_scripts" not in (criu.place / "requests").read_text()


def test_a_link_in_the_directory_of_the_images_is_not_written_through(runtime, bundle, criu, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "file").write_text("of the host")
    (tmp_path / "images/descriptors.json").symlink_to(tmp_path / "file")
    container = runtime.id()
    place = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.run(runtime.command("run", "-d", "-b", place, container), check=True, timeout=60, **null)
    words = ("checkpoint", "--image-path", tmp_path / "images", container)
    done = runtime(*words, env=criu.environment, check=False)
    assert done.returncode == 1
    assert "ELOOP" in done.stderr
    assert (tmp_path / "file").read_text() == "of the host"
    assert runtime("state", container).returncode == 0


@pytest.mark.parametrize("mode", ["", "fail"])
def test_no_log_is_written_through_a_link_in_the_directory_of_the_images(runtime, bundle, criu, images, tmp_path, mode):
    """The images may be from elsewhere, and CRIU opens its log by name."""
    criu.answers(mode)
    (tmp_path / "file").write_text("of the host")
    for name in ("restore.log", "dump.log"):
        (images / name).symlink_to(tmp_path / "file")
    container = runtime.id()
    place = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    words = ("restore", "-d", "--image-path", images, "-b", place, container)
    restored = runtime(*words, env=criu.environment, check=False)
    second = started(runtime, place)
    runtime("checkpoint", "--image-path", images, second, env=criu.environment, check=False)
    assert (tmp_path / "file").read_text() == "of the host"
    assert restored.returncode == (1 if mode else 0)
    assert all((images / name).is_file() and not (images / name).is_symlink() for name in ("restore.log", "dump.log"))


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_delete_after_a_killed_restore_leaves_the_root_filesystem_as_it_is(
    runtime, bundle, criu, images, tmp_path, force
):
    """restore mounts it for CRIU, and delete removes what restore left: never what is mounted there."""
    (criu.place / "mode").write_text("hang")
    os.mkfifo(criu.place / "hanging")
    place = bundle(lambda config: None, own=True)
    before = sorted(os.listdir(place / "rootfs"))
    container = runtime.id()
    words = runtime.command("restore", "-d", "--image-path", images, "-b", place, container)
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with subprocess.Popen(words, env=criu.environment, **null) as restoring:
        assert (criu.place / "hanging").read_text() == "hanging"
        restoring.kill()
    runtime("delete", *force, container)
    assert container not in Path("/proc/self/mountinfo").read_text()
    assert sorted(os.listdir(place / "rootfs")) == before
    assert not (runtime.root / container).exists()


def test_restore_waits_for_no_fifo_in_the_directory_of_the_images(runtime, bundle, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    os.mkfifo(images / "descriptors.json")
    done = runtime("restore", "--image-path", images, "-b", bundle(), runtime.id(), check=False, timeout=60)
    assert done.returncode == 1 and "descriptors.json: it is not a regular file" in done.stderr


def volumes(tmp_path, first, second):
    """Return a function that adds a read-only volume at the path `first`, and one that can be written at `second`."""

    def change(config):
        config["process"]["args"] = ["sleep", "1000"]
        config["root"]["readonly"] = False
        for path, name, options in ((first, "one", ["bind", "ro", "nosuid"]), (second, "two", ["bind"])):
            (tmp_path / name).mkdir()
            mount = {"destination": path, "type": "bind", "source": str(tmp_path / name), "options": options}
            config["mounts"].append(mount)

    return change


def started(runtime, place):
    container = runtime.id()
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.run(runtime.command("run", "-d", "-b", place, container), check=True, timeout=60, **null)
    return container


def test_no_name_of_the_image_is_read_as_two_by_criu(runtime, bundle, criu, tmp_path):
    """CRIU takes "]:" for the end of a path, so the rest of it would be what is mounted (CVE-2026-119101)."""
    place = bundle(volumes(tmp_path, "/way", "/two"), own=True)
    (place / "rootfs/run]:").mkdir()
    (place / "rootfs/run]:/etc").mkdir()
    (place / "rootfs/way").symlink_to("/run]:/etc")
    container = started(runtime, place)
    words = ("checkpoint", "--image-path", tmp_path / "images", container)
    done = runtime(*words, env=criu.environment, check=False)
    assert done.returncode == 1 and "/run]:/etc" in done.stderr
    assert runtime("state", container).returncode == 0


@pytest.mark.parametrize(("destination", "source"), [("/a]:/b", "/srv"), ("/a", "/srv/a]:/etc")])
def test_no_name_of_the_configuration_is_read_as_two_by_criu(
    runtime, bundle, criu, images, tmp_path, destination, source
):
    (tmp_path / source[1:]).mkdir(parents=True)
    mount = {"destination": destination, "source": f"{tmp_path}{source}", "options": ["bind"]}
    place = bundle(lambda config: config["mounts"].append(mount))
    container = runtime.id()
    words = ("restore", "-d", "--image-path", images, "-b", place, container)
    done = runtime(*words, env=criu.environment, check=False)
    assert done.returncode == 1 and "]:" in done.stderr
    assert not (runtime.root / container).exists()


def test_two_mounts_at_one_place_are_not_taken_for_each_other(runtime, bundle, criu, tmp_path):
    """The image leads both to one place, where the upper one can be written: it would get the source of either."""
    place = bundle(volumes(tmp_path, "/one", "/two"), own=True)
    (place / "rootfs/both").mkdir()
    for name in ("one", "two"):
        (place / "rootfs" / name).symlink_to("/both")
    words = ("checkpoint", "--image-path", tmp_path / "images", started(runtime, place))
    done = runtime(*words, env=criu.environment, check=False)
    assert done.returncode == 1 and "'/both'" in done.stderr


def test_a_mount_whose_directory_was_renamed_is_not_taken_for_another_one(runtime, bundle, criu, tmp_path):
    """Otherwise the read-only source would be where the container can write after `restore`."""
    container = started(runtime, bundle(volumes(tmp_path, "/a/volume", "/b/volume"), own=True))
    words = ("checkpoint", "--leave-running", "--image-path", tmp_path / "images", container)
    runtime(*words, env=criu.environment)
    asked = {entry["key"]: entry["val"] for entry in criu.options(rpc.DUMP)["ext_mnt"]}
    assert asked["/a/volume"] == "/a/volume" and asked["/b/volume"] == "/b/volume"
    runtime("exec", container, "sh", "-c", "mv /a /c && mv /b /a && mv /c /b && touch /a/volume/written")
    done = runtime(*words, env=criu.environment, check=False)
    assert done.returncode == 1 and "not the mount of '/a/volume': no ro, nosuid" in done.stderr


def test_a_mount_that_is_moved_during_the_checkpoint_is_noticed(runtime, bundle, criu, tmp_path):
    container = started(runtime, bundle(volumes(tmp_path, "/a/volume", "/b/volume"), own=True))
    words = runtime.command("exec", container, "sh", "-c", "mv /b /c && ln -s /c /b")
    (criu.place / "meanwhile").write_text(subprocess.list2cmdline(words))
    done = runtime("checkpoint", "--image-path", tmp_path / "images", container, env=criu.environment, check=False)
    assert done.returncode == 1 and "has moved its mounts meanwhile" in done.stderr
    assert runtime("state", container).returncode == 0
