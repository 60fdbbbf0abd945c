"""The root filesystem (config.md#root) and its propagation (config-linux.md#rootfs-mount-propagation)."""

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from containers import mounts, until

from changes import bind, capable, linux, top, writable

ROOT = pytest.mark.clause("config.md#root")
CLONE_NEWNS = 0x00020000
PROPAGATION = pytest.mark.clause("config-linux.md#rootfs-mount-propagation")


@ROOT
@pytest.mark.clause("config.md#root/readonly")
def test_readonly_makes_the_root_read_only(inside):
    assert "Read-only file system" in inside("touch /file 2>&1 || true", own=True)


@ROOT
@pytest.mark.clause("config.md#root/readonly")
def test_readonly_holds_for_root_with_all_permissions(inside):
    assert "Read-only file system" in inside("touch /file 2>&1 || true", capable("DAC_OVERRIDE"))


@ROOT
def test_without_readonly_the_root_can_be_written(containers):
    container = containers.create(lambda config: config["root"].pop("readonly"), script="echo x > /file", own=True)
    container.start()
    container.wait()
    assert (container.bundle / "rootfs/file").read_text() == "x\n"


@ROOT
def test_readonly_leaves_other_mounts_writable(inside):
    assert inside("touch /dev/shm/file && echo yes") == "yes"


@ROOT
def test_readonly_leaves_the_hosts_view_writable(containers):
    container = containers.start(own=True)
    (container.bundle / "rootfs/from-host").touch()
    assert container.path("/from-host").exists()


@ROOT
def test_path_is_relative_to_the_bundle(containers):
    container = containers.start(own=True)
    assert os.path.samestat(container.path("/").stat(), (container.bundle / "rootfs").stat())


@ROOT
def test_path_may_be_absolute(containers, rootfs):
    container = containers.start()
    assert os.path.samestat(container.path("/").stat(), rootfs.stat())


@ROOT
def test_the_hosts_root_cannot_be_reached(inside):
    assert inside("cd /; cd ../../..; ls -di . | awk '{print $1}'") == inside("ls -di / | awk '{print $1}'")
    assert (
        inside("grep -c ' / ' /proc/self/mountinfo | head -1; awk '$5 == \"/\"' /proc/self/mountinfo | wc -l").split()[
            1
        ]
        == "1"
    )


@ROOT
def test_mounts_below_the_root_filesystem_come_along(containers, tmp_path, rootfs):
    root = tmp_path / "root"
    shutil.copytree(rootfs, root, symlinks=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", root / "home"], check=True)
    try:
        (root / "home/file").touch()
        assert containers.inside("ls /home", top(root={"path": str(root)})) == "file"
    finally:
        subprocess.run(["umount", root / "home"], check=True)


@ROOT
@pytest.mark.parametrize("path", ["missing", "config.json", "../..", "/no/such/directory"])
@pytest.mark.clause("config.md#root/path-is-directory")
def test_a_path_that_is_no_directory_in_the_bundle_is_an_error(containers, path):
    assert "/root/path" in containers.refused(top(root={"path": path}))


@ROOT
def test_a_link_out_of_the_bundle_is_an_error(containers, bundle, runtime, tmp_path):
    path = bundle(top(root={"path": "link"}))
    (path / "link").symlink_to("/")
    name = runtime.id()
    done = runtime("create", "-b", path, name, check=False)
    assert done.returncode == 1
    assert "/root/path" in done.stderr
    containers.nothing_left(name)


# ---- Propagation: what it means, and not only what mountinfo says ----


@contextmanager
def source(path, propagation):
    """A mount point at `path` with `propagation`, to be bound into a container."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "outer", path], check=True)
    subprocess.run(["mount", f"--make-{propagation}", path], check=True)
    (path / "sub").mkdir()
    try:
        yield path
    finally:
        subprocess.run(["umount", "-R", path], check=True)


def on_host(path):
    """Mount something on the host."""
    subprocess.run(["mount", "-t", "tmpfs", "from-host", path], check=True)


@contextmanager
def shared_rootfs(path, rootfs):
    """A root filesystem that is a shared mount, as systemd makes all mounts."""
    shutil.copytree(rootfs, path, symlinks=True)
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "--make-shared", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-R", path], check=True)


MOUNT_INSIDE = "mount -t tmpfs from-inside /var && sleep 1000"


def root_of(container):
    return next(mount for mount in mounts(container.proc("mountinfo").read_text()) if mount.path == "/")


def mounted_on_host(path):
    return any(line.split()[4] == str(path) for line in open("/proc/self/mountinfo"))


def run_with(containers, root, propagation):
    """Return a running container with rootfsPropagation on the shared mount `root` that has mounted on /var."""
    changes = [top(root={"path": str(root)}), capable("SYS_ADMIN")]
    if propagation:
        changes.append(linux(rootfsPropagation=propagation))
    container = containers.start(*changes, script=MOUNT_INSIDE)
    until(lambda: " /var " in container.proc("mountinfo").read_text(), "the mount inside")
    return container


def mount_in_nested_namespace(container, path):
    """Mount a tmpfs at the container's `path` in a copy of its mount namespace, as a container in it would."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(container.proc("ns/mnt"), "rb") as namespace:
        child = os.fork()
        if child == 0:
            done = libc.setns(namespace.fileno(), CLONE_NEWNS) == 0 and libc.unshare(CLONE_NEWNS) == 0
            os._exit(0 if done and libc.mount(b"nested", path.encode(), b"tmpfs", 0, None) == 0 else ctypes.get_errno())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@PROPAGATION
@pytest.mark.parametrize(
    ("propagation", "arrives"), [("shared", True), ("slave", False), ("private", False), (None, False)]
)
def test_mounts_of_a_nested_namespace_propagate_to_a_shared_root_only(containers, propagation, arrives):
    container = containers.start(*([linux(rootfsPropagation=propagation)] if propagation else []))
    mount_in_nested_namespace(container, "/var")
    assert (" /var " in container.proc("mountinfo").read_text()) == arrives


@PROPAGATION
def test_slave_mounts_come_in_and_do_not_go_out(containers, tmp_path, rootfs):
    with shared_rootfs(tmp_path / "root", rootfs) as root:
        container = run_with(containers, root, "slave")
        assert "master" in root_of(container).propagation
        assert "shared" not in root_of(container).propagation
        on_host(root / "home")
        inside = container.proc("mountinfo").read_text()
        outside = mounted_on_host(root / "var")
        container.delete("--force")
    assert " /home " in inside
    assert not outside


@PROPAGATION
@pytest.mark.parametrize("propagation", ["private", "shared", None])
def test_otherwise_mounts_pass_between_host_and_container_in_no_direction(containers, tmp_path, rootfs, propagation):
    with shared_rootfs(tmp_path / "root", rootfs) as root:
        container = run_with(containers, root, propagation)
        on_host(root / "home")
        inside = container.proc("mountinfo").read_text()
        outside = mounted_on_host(root / "var")
        container.delete("--force")
    assert " /home " not in inside
    assert not outside


@PROPAGATION
def test_what_is_mounted_below_the_root_is_cut_off_from_the_host_too(containers, tmp_path, rootfs):
    with shared_rootfs(tmp_path / "root", rootfs) as root:
        on_host(root / "home")
        (root / "home/sub").mkdir()
        script = "mount -t tmpfs from-inside /home/sub && sleep 1000"
        container = containers.start(top(root={"path": str(root)}), capable("SYS_ADMIN"), script=script)
        until(lambda: " /home/sub " in container.proc("mountinfo").read_text(), "the mount inside")
        outside = mounted_on_host(root / "home/sub")
        container.delete("--force")
    assert not outside


# A host whose mounts are all shared, as systemd makes them: the mount tables before and after what follows.
SHARED = """
mount --make-rshared /
cat /proc/self/mountinfo > "$1/before"
place=$1
shift
"$@" < /dev/null > /dev/null 2> "$place/said"
cat /proc/self/mountinfo > "$place/after"
"""


@PROPAGATION
@pytest.mark.parametrize("propagation", ["shared", "rshared", "slave", "rslave", "private", "unbindable", None])
def test_nothing_that_is_mounted_for_a_container_reaches_a_host_with_shared_mounts(containers, tmp_path, propagation):
    changes = [linux(rootfsPropagation=propagation)] if propagation else []
    words = containers.runtime.command("create", "-b", containers.bundle("true", *changes), containers.runtime.id())
    subprocess.run(["unshare", "--mount", "sh", "-ec", SHARED, "sh", tmp_path, *words], check=True, timeout=60)
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()


@PROPAGATION
def test_unbindable_mounts_cannot_be_bound(containers, inside):
    script = "mkdir -p /dev/shm/place && mount --bind / /dev/shm/place 2>&1 && echo bound || echo refused"
    assert "refused" in inside(script, capable("SYS_ADMIN"), linux(rootfsPropagation="unbindable"))
    assert inside(script, capable("SYS_ADMIN"), linux(rootfsPropagation="private")) == "bound"


@PROPAGATION
@pytest.mark.parametrize(
    ("propagation", "expected"),
    [
        ("shared", {"shared"}),
        ("private", set()),
        ("unbindable", {"unbindable"}),
        ("rshared", {"shared"}),
        ("rprivate", set()),
    ],
)
def test_the_kernel_names_the_propagation_of_the_root(containers, propagation, expected):
    assert root_of(containers.start(linux(rootfsPropagation=propagation))).propagation == expected


@PROPAGATION
def test_an_unknown_propagation_is_an_error(containers):
    assert "/linux/rootfsPropagation" in containers.refused(linux(rootfsPropagation="public"))


@PROPAGATION
@pytest.mark.parametrize("propagation", ["shared", "rshared", "slave", "private", "unbindable", None])
def test_the_hosts_own_mounts_are_not_touched(containers, propagation, host_mounts):
    before = host_mounts()
    changes = [linux(rootfsPropagation=propagation)] if propagation else []
    container = containers.start(*changes)
    during = host_mounts()
    container.delete("--force")
    assert before == during


@PROPAGATION
def test_a_bound_shared_mount_receives_what_the_host_mounts_later(containers, tmp_path):
    with source(tmp_path / "source", "shared") as path:
        container = containers.start(bind(path, "/home", kind="rbind"))
        on_host(path / "sub")
        seen = container.proc("mountinfo").read_text()
        container.delete("--force")
    assert " /home/sub " in seen


@ROOT
def test_no_pivot_enters_the_root_too(containers, rootfs):
    container = containers.create(writable, words=["--no-pivot"])
    container.start()
    assert os.path.samestat(container.path("/").stat(), rootfs.stat())
