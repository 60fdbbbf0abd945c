"""What the tests of callers share: the callers with daemons and directories of their own, and images for them."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import containerd2
import pytest
from calling import DEBIAN, IMAGE, PATH, Caller, Daemon, containers_in, need, remove_parent_cgroup, until
from cri_fixtures import kubelet, kubelet_daemon  # noqa: F401, fixtures are found by their names here
from docker_fixtures import (  # noqa: F401
    docker,
    docker_session,
    drop_in_docker,
    drop_in_docker_session,
    remapped_docker,
    remapped_docker_session,
)
from images import make_archive
from ordinary import ordinary  # noqa: F401
from podman_fixtures import (  # noqa: F401
    buildah,
    podman,
    podman_place,
    podman_session,
    rootless_buildah,
    rootless_podman,
    rootless_podman_session,
)

CACHE = Path(__file__).parents[2] / ".cache"


# ---- Images ----


@pytest.fixture(scope="session")
def image(rootfs, tmp_path_factory) -> Path:
    """An archive with the image IMAGE: busybox."""
    return make_archive(rootfs, IMAGE, tmp_path_factory.mktemp("image") / "box.tar")


@pytest.fixture(scope="session")
def debian_image(tmp_path_factory) -> Path:
    """An archive with the image DEBIAN: a Debian as debootstrap makes it, kept for the next run."""
    need("debootstrap")
    system = platform.freedesktop_os_release()
    suite = system["VERSION_CODENAME"] if system.get("ID") == "debian" else "stable"
    archive = CACHE / f"debian-{suite}.tar"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        target = tmp_path_factory.mktemp("debian") / "rootfs"
        for _ in range(2):  # a mirror may not answer once
            shutil.rmtree(target, ignore_errors=True)
            words = ["debootstrap", "--variant=minbase", suite, target]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        make_archive(target, DEBIAN, archive, ("var/cache/apt/", "var/lib/apt/lists/", "usr/share/doc/", "proc/"))
        shutil.rmtree(target)
    return archive


# ---- containerd ----

_CONTAINERD = """\
version = 2
root = "{place}/root"
state = "{place}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{place}/containerd.sock"
[ttrpc]
  address = "{place}/containerd.sock.ttrpc"
"""


class Containerd:
    """A containerd: `ctr` calls it, `runtime_root` is where pyruntime keeps the state of its containers."""

    def __init__(self, ctr: Caller, namespace: str, runtime_root: Path) -> None:
        self.ctr = ctr
        self.namespace = namespace
        self.runtime_root = runtime_root

    def status(self, name: str) -> str:
        """Return the status of a task, "" when there is none."""
        return next((line.split()[2] for line in self._tasks() if line.split()[0] == name), "")

    def pid(self, name: str) -> int:
        return next(int(line.split()[1]) for line in self._tasks() if line.split()[0] == name)

    def _tasks(self) -> list[str]:
        return self.ctr("task", "ls").stdout.splitlines()[1:]

    def clean(self) -> None:
        """Remove every container."""
        for name in self.ctr("container", "ls", "--quiet").stdout.split():
            if self.status(name):
                self.ctr("task", "delete", "--force", name, status=None)
            self.ctr("container", "delete", name)

    def left(self) -> list[str]:
        """Return the ids of the containers that pyruntime knows."""
        return containers_in(self.runtime_root / self.namespace)


# CI has time for one of them.
CONTAINERDS = ["debian"] if os.environ.get("CI") == "true" else ["debian", "containerd2"]


@pytest.fixture(scope="session", params=CONTAINERDS)
def containerd_path(request):
    """The $PATH with the containerd to test, its shim and ctr: Debian's, or containerd 2."""
    if request.param == "containerd2":
        return f"{containerd2.get()}:{PATH}"
    need("containerd", "ctr")
    return PATH


@pytest.fixture(scope="session")
def containerd_daemon(tmp_path_factory, pyruntime, session, image, containerd_path):
    """A containerd with the image IMAGE."""
    place = tmp_path_factory.mktemp("containerd")
    (place / "config.toml").write_text(_CONTAINERD.format(place=place))
    words = ["ctr", "--address", place / "containerd.sock", "--namespace", f"{session}-ctr"]
    runtime = ["--runc-binary", pyruntime, "--runc-root", place / "pyruntime"]
    # On a host with version 1 of cgroups containerd 2.2 says with each command that it will not do forever.
    ctr = Caller(words, {"run": runtime}, {"PATH": containerd_path, "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS": "1"})
    daemon = Daemon(["containerd", "--config", place / "config.toml"], place / "log", containerd_path)
    containerd = Containerd(ctr, f"{session}-ctr", place / "pyruntime")
    try:
        until(lambda: daemon.answers(*words, "version"), "containerd to answer")
        ctr("image", "import", image)
        yield containerd
        containerd.clean()
    finally:
        daemon.stop()
    remove_parent_cgroup(f"{session}-ctr")


@pytest.fixture
def containerd(containerd_daemon):
    """The containerd; a test that leaves a container fails, whether the caller or the runtime has kept it."""
    yield containerd_daemon
    containerd_daemon.clean()
    assert containerd_daemon.left() == []
