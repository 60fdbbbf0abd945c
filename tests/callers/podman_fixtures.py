"""Podman and Buildah with directories of their own: root's and an ordinary user's; conftest.py hands them on."""

import shlex
import shutil

import pytest
from calling import Caller, containers_in, need, remove_parent_cgroup, unmount_below, until
from ordinary import Ordinary

# Podman asks for more open files than a host may allow, and reads the log of known runtimes only.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime_supports_json = ["pyruntime"]
"""


# ---- As root ----


@pytest.fixture(scope="session")
def podman_place(tmp_path_factory, pyruntime, image):
    """A directory for Podman and Buildah, with containers.conf, the image IMAGE, and pyruntime on a state root."""
    need("podman", "conmon", "catatonit")
    place = tmp_path_factory.mktemp("podman")
    (place / "containers.conf").write_text(_CONTAINERS_CONF)
    # Podman itself gives no --root.
    wrapper = place / "pyruntime"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(str(pyruntime))} --root {place}/state "$@"\n')
    wrapper.chmod(0o755)
    (place / "tmp").mkdir()
    return place


def _storage(place) -> list[str]:
    return ["--root", f"{place}/root", "--runroot", f"{place}/run"]


@pytest.fixture(scope="session")
def podman_session(podman_place, session, image):
    """A podman with the image IMAGE whose runtime is pyruntime."""
    place = podman_place
    flags = ["--network", "none", "--cgroup-parent", f"/{session}-podman"]
    # On a host with version 1 of cgroups Podman 5 says with each command that it will not do forever.
    quiet = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    podman = Caller(
        ["podman", *_storage(place), "--tmpdir", place / "libpod", "--runtime", place / "pyruntime"],
        {"run": flags, "create": flags},
        {"CONTAINERS_CONF": str(place / "containers.conf"), "TMPDIR": str(place / "tmp"), **quiet},
    )
    podman("load", "--input", image)
    yield podman
    _remove_everything(podman)
    unmount_below(place)
    remove_parent_cgroup(f"{session}-podman")


def _remove_containers(podman: Caller) -> None:
    podman("pod", "rm", "--all", "--force", "--time", "0")
    podman("rm", "--all", "--force", "--time", "0")


def _remove_everything(podman: Caller) -> None:
    _remove_containers(podman)
    podman("rmi", "--all", "--force")


@pytest.fixture
def podman(podman_session, podman_place):
    """The podman; no container may be left in pyruntime's hands."""
    yield podman_session
    _remove_containers(podman_session)
    until(lambda: containers_in(podman_place / "state") == [], "conmon to delete its containers")


@pytest.fixture
def buildah(podman, podman_place):
    """Buildah on Podman's storage: buildah("from", IMAGE)."""
    need("buildah")
    runtime = ["--runtime", podman_place / "pyruntime", "--isolation", "oci", "--network", "none"]
    caller = Caller(["buildah", *_storage(podman_place)], {"run": runtime, "bud": runtime}, podman.environment)
    yield caller
    caller("rm", "--all")


# ---- As an ordinary user ----


@pytest.fixture(scope="session")
def rootless_podman_session(ordinary: Ordinary, image):
    """An ordinary user's podman with the image IMAGE whose runtime is pyruntime."""
    need("podman", "conmon", "catatonit")
    (ordinary.home / "containers.conf").write_text(_CONTAINERS_CONF)
    archive = shutil.copy(image, ordinary.home / "box.tar")
    flags = ["--network", "none"]
    podman = ordinary.caller(
        # The driver that needs nothing of the kernel.
        ["podman", "--storage-driver", "vfs", "--runtime", ordinary.program],
        {"run": flags, "create": flags},
        CONTAINERS_CONF=ordinary.home / "containers.conf",
    )
    podman("load", "--input", archive)
    yield podman
    _remove_everything(podman)


@pytest.fixture
def rootless_podman(rootless_podman_session, ordinary: Ordinary):
    """The ordinary user's podman; no container may be left in pyruntime's hands."""
    yield rootless_podman_session
    _remove_containers(rootless_podman_session)
    until(lambda: containers_in(ordinary.runtime_root) == [], "conmon to delete its containers")


@pytest.fixture
def rootless_buildah(rootless_podman, ordinary: Ordinary):
    """Buildah on the storage of the ordinary user's podman."""
    need("buildah")
    runtime = ["--runtime", ordinary.program, "--network", "none"]
    words = ["buildah", "--storage-driver", "vfs"]
    configuration = ordinary.home / "containers.conf"
    caller = ordinary.caller(words, {"run": runtime, "bud": runtime}, CONTAINERS_CONF=configuration)
    yield caller
    caller("rm", "--all")
