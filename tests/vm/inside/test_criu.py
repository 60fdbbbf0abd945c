"""checkpoint and restore with CRIU itself, of what tests/integration/test_checkpoint.py leaves out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from containers import group_of, until

sys.path.insert(0, str(Path(__file__).parents[2] / "callers"))
import images

NULL = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
ANSWERS = "trap 'echo $(cat /data/word) > /tmp/said' USR1; echo > /tmp/ready; while :; do sleep 0.1; done"


class Trip:
    """A container that goes to its images and comes back."""

    def __init__(self, runtime, bundle, folder, *changes, prepare=None, script=ANSWERS):
        def change(config):
            config["process"]["args"] = ["sh", "-c", script]
            config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
            for one in changes:
                one(config)

        self.runtime, self.folder, self.id = runtime, folder, runtime.id()
        self.bundle = bundle(change, own=True)
        if prepare:
            prepare(self.bundle / "rootfs")
        subprocess.run(runtime.command("run", "-d", "-b", self.bundle, self.id), check=True, timeout=60, **NULL)
        until((self.root / "tmp/ready").exists, "the container to be ready")

    @property
    def pid(self):
        return json.loads(self.runtime("state", self.id).stdout)["pid"]

    @property
    def root(self):
        return self.folder / f"/proc/{self.pid}/root"

    def leave(self, *words, images="images"):
        self.runtime("checkpoint", *words, "--image-path", self.folder / images, self.id)

    def come_back(self, *words, images="images", name=None, **options):
        self.id = name or self.id
        command = ("restore", "-d", *words, "--image-path", self.folder / images, "-b", self.bundle, self.id)
        subprocess.run(self.runtime.command(*command), check=True, timeout=120, **NULL, **options)

    def said(self):
        """Return what the container reads in /data/word."""
        (self.root / "tmp/said").unlink(missing_ok=True)
        self.runtime("kill", self.id, "USR1")
        until(lambda: (self.root / "tmp/said").exists() and (self.root / "tmp/said").read_text(), "its answer")
        return (self.root / "tmp/said").read_text().strip()


def bound(source, destination, *options):
    """Bind the directory `source`, whose file `word` has its name."""
    source.mkdir()
    (source / "word").write_text(f"{source.name}\n")
    mount = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}
    return lambda config: config["mounts"].append(mount)


@pytest.mark.parametrize("target", ["/opt/place", "opt/../opt/place"])
def test_a_bind_on_a_link_of_the_image(runtime, bundle, tmp_path, target):
    """CRIU knows it by the place that the link leads to; in another root filesystem that is made again."""
    trip = Trip(
        *(runtime, bundle, tmp_path, bound(tmp_path / "given", "/data", "ro")),
        prepare=lambda rootfs: os.symlink(target, rootfs / "data"),
    )
    assert (trip.root / "opt/place/word").read_text() == "given\n"
    trip.leave()
    (trip.bundle / "rootfs/opt/place").rmdir()
    trip.come_back()
    assert trip.said() == "given"
    assert " /opt/place ro," in (trip.folder / f"/proc/{trip.pid}/mountinfo").read_text()


def test_a_bind_in_what_another_one_binds(runtime, bundle, tmp_path):
    """Its place is made again in the outer one's source."""
    outer, inner = bound(tmp_path / "outer", "/data"), bound(tmp_path / "inner", "/data/deep/er", "ro")
    trip = Trip(runtime, bundle, tmp_path, outer, inner)
    trip.leave()
    (tmp_path / "outer/deep/er").rmdir()
    (tmp_path / "outer/deep").rmdir()
    trip.come_back()
    assert trip.said() == "outer"
    assert runtime("exec", trip.id, "cat", "/data/deep/er/word").stdout == "inner\n"


def test_a_network_namespace_that_was_joined_is_joined_again(runtime, bundle, tmp_path):
    name = f"criu{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        place = f"/run/netns/{name}"

        def joined(config):
            for one in config["linux"]["namespaces"]:
                if one["type"] == "network":
                    one["path"] = place

        trip = Trip(runtime, bundle, tmp_path, joined, bound(tmp_path / "given", "/data"))
        for _ in range(2):
            trip.leave()
            trip.come_back()
            inside = os.stat(f"/proc/{trip.pid}/ns/net").st_ino
            assert inside == os.stat(place).st_ino
            assert trip.said() == "given"
        runtime("delete", "--force", trip.id)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_memory_is_written_before_and_the_rest_later(runtime, bundle, tmp_path):
    script = f"x=$(head -c 8000000 /dev/zero | tr '\\0' x); {ANSWERS}"
    trip = Trip(runtime, bundle, tmp_path, bound(tmp_path / "given", "/data"), script=script)

    def size(images):
        return sum(file.stat().st_size for file in (tmp_path / images).glob("pages-*.img"))

    trip.leave("--pre-dump", images="one")
    assert trip.said() == "given"
    trip.leave("--pre-dump", "--parent-path", "../one", images="two")
    assert trip.said() == "given"
    trip.leave("--parent-path", "../two", images="three")
    assert size("one") > 8000000 > 8 * size("three")
    trip.come_back(images="three")
    assert trip.said() == "given"


def test_memory_comes_when_it_is_asked_for(runtime, bundle, tmp_path):
    """criu lazy-pages serves it from the images."""
    trip = Trip(runtime, bundle, tmp_path, bound(tmp_path / "given", "/data"))
    trip.leave()
    daemon = ["criu", "lazy-pages", "--images-dir", tmp_path / "images", "--work-dir", tmp_path / "images"]
    with subprocess.Popen(daemon, **NULL) as process:
        until((tmp_path / "images/lazy-pages.socket").exists, "criu lazy-pages")
        trip.come_back("--lazy-pages")
        assert trip.said() == "given"
        assert process.wait(timeout=120) == 0
    assert trip.said() == "given"


def test_memory_is_served_by_the_container_that_is_left(runtime, bundle, tmp_path):
    """checkpoint serves it until the last page is gone, and the container is gone with it."""
    trip = Trip(runtime, bundle, tmp_path, bound(tmp_path / "given", "/data"))
    images, first = tmp_path / "images", trip.id
    read, write = os.pipe()
    words = ["--lazy-pages", "--page-server", "127.0.0.1:2727", "--status-fd", str(write), "--image-path", images]
    with subprocess.Popen(runtime.command("checkpoint", *words, first), pass_fds=[write], **NULL) as leaving:
        os.close(write)
        with open(read, "rb") as ready:
            assert ready.read() == b"\0"
        daemon = ["criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "2727"]
        with subprocess.Popen([*daemon, "--images-dir", images, "--work-dir", images], **NULL) as serving:
            until((images / "lazy-pages.socket").exists, "criu lazy-pages")
            trip.come_back("--lazy-pages", name=runtime.id())
            assert trip.said() == "given"
            assert serving.wait(timeout=120) == 0
        assert leaving.wait(timeout=120) == 0
    assert trip.said() == "given"
    assert "does not exist" in runtime("state", first, check=False).stderr


def test_the_groups_that_a_container_made_come_back(runtime, bundle, tmp_path):
    def delegated(config):
        config["annotations"] = {"run.oci.delegate-cgroup": "own"}
        config["linux"].setdefault("resources", {})["pids"] = {"limit": 60}

    trip = Trip(runtime, bundle, tmp_path, delegated, bound(tmp_path / "given", "/data"))
    group = group_of(trip.pid)
    assert group.name == "own"
    trip.leave()
    assert not group.parent.exists()
    trip.come_back()
    assert group_of(trip.pid) == group
    assert (group.parent / "pids.max").read_text() == "60\n"
    assert trip.said() == "given"
    assert runtime("exec", trip.id, "cat", "/proc/self/cgroup").stdout == "0::/own\n"


# ---- Through callers ----

IMAGE = "example.org/box:1"
# It remembers what it has read, until it may end.
REMEMBERS = "read word </io/word; touch /io/ready; until [ -e /io/end ]; do sleep 0.1; done; echo $word >/io/remembered"


@pytest.fixture(scope="module")
def archive(rootfs, tmp_path_factory):
    """An archive with the image IMAGE."""
    return images.make_archive(rootfs, IMAGE, tmp_path_factory.mktemp("image") / "box.tar")


@pytest.fixture
def io(tmp_path):
    """A directory that is bound at /io, with the word to be remembered."""
    path = tmp_path / "io"
    path.mkdir()
    (path / "word").write_text("before\n")
    return path


def called(*words, check=True):
    """Call a program, whose container must not hold the pipes open; return what it prints."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=120)
    assert not check or done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def remembered(io):
    """Let the container end, and return what it has remembered."""
    (io / "word").write_text("after\n")
    (io / "end").touch()
    return until(lambda: (io / "remembered").exists() and (io / "remembered").read_text(), "the container to go on")


def test_podman_restores_under_another_name(pyruntime, archive, io, tmp_path):
    podman = ("podman", "--root", tmp_path / "root", "--runroot", tmp_path / "run", "--runtime", pyruntime)
    exported = tmp_path / "exported.tar"
    try:
        called(*podman, "load", "--input", archive)
        flags = ("--detach", "--network", "none", "--volume", f"{io}:/io", "--pids-limit", "77")
        called(*podman, "run", *flags, "--name", "one", IMAGE, "sh", "-c", REMEMBERS)
        until((io / "ready").exists, "the container to have read its word")
        called(*podman, "container", "checkpoint", "--export", exported, "--compress", "none", "one")
        called(*podman, "rm", "one")
        called(*podman, "container", "restore", "--import", exported, "--name", "two")
        assert called(*podman, "exec", "two", "cat", "/sys/fs/cgroup/pids.max") == "77\n"
        assert remembered(io) == "before\n"
        assert called(*podman, "wait", "two") == "0\n"
    finally:
        called(*podman, "rm", "--all", "--force", check=False)
        called("umount", "--recursive", tmp_path / "root/overlay", check=False)


def test_containerd_restores_a_container_of_an_image(pyruntime, archive, io, tmp_path):
    address = tmp_path / "containerd.sock"
    ctr = ("ctr", "--address", address)
    words = ("containerd", "--address", address, "--root", tmp_path / "root", "--state", tmp_path / "state")
    with subprocess.Popen(list(map(str, words)), **NULL) as daemon:
        try:
            until(lambda: "Server:" in called(*ctr, "version", check=False), "containerd to answer")
            called(*ctr, "image", "import", archive)
            flags = ("--runc-binary", pyruntime, "--mount", f"type=bind,src={io},dst=/io,options=rbind:rw")
            called(*ctr, "run", "--detach", *flags, IMAGE, "c", "sh", "-c", REMEMBERS)
            until((io / "ready").exists, "the container to have read its word")
            called(*ctr, "container", "checkpoint", "--rw", "--image", "--task", "c", "example.org/checkpoint:1")
            called(*ctr, "task", "delete", "--force", "c", check=False)  # whose status is the container's
            called(*ctr, "container", "delete", "c")
            called(*ctr, "container", "restore", "--rw", "--live", "c", "example.org/checkpoint:1")
            assert called(*ctr, "task", "exec", "--exec-id", "e", "c", "cat", "/io/word") == "before\n"
            assert remembered(io) == "before\n"
            until(lambda: "STOPPED" in called(*ctr, "task", "ls"), "the container to end")
            called(*ctr, "task", "delete", "c")
            called(*ctr, "container", "delete", "c")
        finally:
            daemon.terminate()
