"""Mounts: kinds, sources, destinations and order (config.md#mounts, #posix-platform-mounts)."""

import os
import subprocess

import pytest
from containers import mounts, until

from changes import bind, capable, inherit, mapped, mount, namespace, unmount, user, writable

pytestmark = pytest.mark.clause("config.md#mounts")


@pytest.fixture
def submounted(folder):
    """The same, with a tmpfs mounted on the subdirectory."""
    subprocess.run(["mount", "-t", "tmpfs", "below", folder / "sub"], check=True)
    (folder / "sub/deep").touch()
    yield folder
    subprocess.run(["umount", folder / "sub"], check=True)


# ---- Bind mounts ----


def test_a_directory_is_bound(inside, folder):
    assert inside("cat /home/file", bind(folder, "/home")) == "content"


def test_a_file_is_bound(inside, folder):
    assert inside("cat /etc/passwd", bind(folder / "file", "/etc/passwd")) == "content"


@pytest.mark.clause("config.md#linux-mount-options/option-bind")
def test_a_bind_mount_is_the_same_file(containers, folder):
    container = containers.start(bind(folder, "/home"))
    assert os.path.samestat(container.path("/home/file").stat(), (folder / "file").stat())
    (folder / "file").write_text("changed")
    assert container.path("/home/file").read_text() == "changed"


def test_a_bind_mount_can_be_written(inside, folder):
    inside("echo new > /home/file", bind(folder, "/home"))
    assert (folder / "file").read_text() == "new\n"


@pytest.mark.clause("config.md#linux-mount-options/option-bind")
def test_bind_leaves_out_the_mounts_below(inside, submounted):
    assert inside("ls /home/sub", bind(submounted, "/home", kind="bind")) == ""


@pytest.mark.clause("config.md#linux-mount-options/option-rbind")
def test_rbind_takes_the_mounts_below(inside, submounted):
    assert inside("ls /home/sub", bind(submounted, "/home", kind="rbind")) == "deep"


@pytest.mark.parametrize("kind", ["bind", "rbind"])
@pytest.mark.parametrize("words", [[], ["--no-pivot"]], ids=["", "no pivot"])
@pytest.mark.parametrize("changes", [(), (mapped(),)], ids=["", "user namespace"])
def test_the_hosts_root_is_bound_and_not_the_containers(containers, kind, words, changes):
    container = containers.create(*changes, bind("/", "/home", "ro", kind=kind), words=words)
    assert os.path.samestat(container.path("/home").stat(), os.stat("/"))


def test_the_type_of_a_bind_mount_does_not_matter(inside, folder):
    # config.md#posix-platform-mounts: type is ignored for bind mounts, and often "none".
    for kind in ("none", "bind", "tmpfs", "ext4"):
        assert inside("cat /home/file", mount("/home", kind, folder, "bind")) == "content"


def test_a_relative_source_is_relative_to_the_bundle(inside, tmp_path):
    def fill(config):
        (tmp_path / "bundle1/data").mkdir()
        (tmp_path / "bundle1/data/file").write_text("relative")

    assert inside("cat /home/file", fill, bind("data", "/home")) == "relative"


def test_a_source_may_be_a_link(inside, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert inside("cat /home/file", bind(tmp_path / "link", "/home")) == "content"


@pytest.mark.parametrize("name", ["socket", "fifo", "null"])
def test_other_kinds_of_files_are_bound(containers, tmp_path, name):
    import socket
    import stat

    place = tmp_path / name
    if name == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    elif name == "fifo":
        os.mkfifo(place)
    else:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    container = containers.start(bind(place, "/dev/shm/place"))
    assert os.path.samestat(container.path("/dev/shm/place").stat(), place.stat())


def test_a_source_that_is_not_there_is_an_error(containers, tmp_path):
    said = containers.refused(bind(tmp_path / "missing", "/home"))
    assert "/mounts/7" in said
    assert str(tmp_path / "missing") in said
    assert "ENOENT" in said


def test_a_bind_mount_without_source_is_an_error(containers):
    assert "/mounts/7" in containers.refused(mount("/home", None, None, "bind"))


def test_a_directory_cannot_be_bound_to_a_file(containers, folder):
    assert "/mounts/7" in containers.refused(bind(folder, "/etc/passwd"))


def test_a_file_cannot_be_bound_to_a_directory(containers, folder):
    assert "/mounts/7" in containers.refused(bind(folder / "file", "/home"))


# ---- Destinations ----


def test_a_destination_that_is_missing_is_made_as_what_is_mounted(containers, folder):
    container = containers.start(
        writable, bind(folder, "/new/directory"), bind(folder / "file", "/new/other/file"), own=True
    )
    assert container.path("/new/directory/file").read_text() == "content\n"
    assert container.path("/new/other/file").read_text() == "content\n"


@pytest.mark.clause("config.md#mounts/destination-relative")
def test_a_destination_may_be_relative(inside, folder):
    # Deprecated, and meant to be read as relative to "/".
    assert inside("cat /home/file", bind(folder, "home")) == "content"


def test_a_destination_is_resolved_inside_the_container(containers, folder, tmp_path):
    def link(config):
        root = containers_root(config)
        (root / "way").symlink_to("/home")

    def containers_root(config):
        return tmp_path / "bundle1" / "rootfs"

    container = containers.start(link, bind(folder, "/way"), own=True)
    assert container.path("/home/file").exists()


@pytest.mark.parametrize("target", ["/", "/..", "../../../../../..", "/proc/self/root", "/proc/1/cwd"])
def test_a_destination_never_leads_out_of_the_root(containers, folder, tmp_path, target, host_mounts):
    def link(config):
        (tmp_path / "bundle1" / "rootfs" / "way").symlink_to(target)

    before = host_mounts()
    path = containers.bundle("sleep 1000", link, bind(folder, "/way/home"), own=True)
    containers.runtime("create", "-b", path, containers.runtime.id(), check=False)
    assert host_mounts() == before


def test_the_root_cannot_be_mounted_over(containers, folder):
    assert "/mounts/7/destination" in containers.refused(bind(folder, "/"))


# ---- Order ----


@pytest.mark.clause("config.md#mounts/listed-order")
def test_mounts_are_made_in_the_listed_order(inside, folder):
    inner = mount("/home/sub", "tmpfs", "inner")
    found = inside("ls /home; df /home/sub | tail -1", bind(folder, "/home"), inner).split()
    assert found[:3] == ["file", "sub", "inner"]


@pytest.mark.clause("config.md#mounts/listed-order")
def test_a_later_mount_covers_an_earlier_one(inside, folder):
    found = inside(
        "ls /home | wc -l; grep -c ' /home ' /proc/self/mountinfo",
        bind(folder, "/home"),
        mount("/home", "tmpfs", "over"),
    )
    assert found.split() == ["0", "2"]


@pytest.mark.clause("config.md#mounts/listed-order")
def test_an_earlier_mount_below_a_later_one_is_covered(inside, folder):
    assert inside("ls /home", bind(folder, "/home/sub"), mount("/home", "tmpfs", "over"), writable, own=True) == ""


def test_two_mounts_may_have_one_destination_each_on_the_other(containers, folder):
    container = containers.start(bind(folder, "/home"), bind(folder / "sub", "/home"))
    assert os.path.samestat(container.path("/home").stat(), (folder / "sub").stat())


# ---- Filesystems ----


@pytest.mark.parametrize(
    ("fstype", "destination"),
    [
        ("proc", "/home"),
        ("sysfs", "/home"),
        ("tmpfs", "/home"),
        ("devpts", "/home"),
        ("mqueue", "/home"),
        ("ramfs", "/home"),
    ],
)
def test_filesystems_are_mounted(mounted, fstype, destination):
    found = mounted(destination, mount(destination, fstype, "name"))
    assert found.type == fstype
    assert found.source == "name"


def test_proc_shows_the_new_pid_namespace(inside):
    assert inside("ls -d /home/[0-9]* | sort | head -1", mount("/home", "proc", "proc")) == "/home/1"


def test_sysfs_shows_the_new_network_namespace(inside):
    assert inside("ls /home/class/net", mount("/home", "sysfs", "sysfs")) == "lo"


@pytest.mark.clause("config.md#linux-mount-options/unknown-is-data")
def test_a_tmpfs_takes_its_options(inside):
    found = inside(
        "stat -c '%a %u %g' /home; df -k /home | tail -1 | awk '{print $2}'",
        mount("/home", "tmpfs", "tmpfs", "size=64k", "mode=0751", "uid=7", "gid=8"),
    )
    assert found.split() == ["751", "7", "8", "64"]


def test_a_devpts_with_newinstance_is_empty(inside):
    assert inside("ls /dev/pts") == "ptmx"


def test_an_mqueue_belongs_to_the_ipc_namespace(containers):
    holder = containers.start()
    container = containers.start(namespace("ipc", holder.proc("ns/ipc")))
    holder.path("/dev/mqueue/queue").touch()
    assert container.path("/dev/mqueue/queue").exists()
    assert not containers.start().path("/dev/mqueue/queue").exists()


@pytest.mark.parametrize("more", [(), (namespace("time"),)], ids=["alone", "with an intermediate process"])
@pytest.mark.clause("config-linux.md#user-namespace-mappings")
def test_an_mqueue_belongs_to_root_of_the_user_namespace(containers, inside, more):
    assert inside("stat -c %u:%g /dev/mqueue", mapped(), *more) == "0:0"
    holder = containers.start(mapped(), *more)
    joined = namespace("user", holder.proc("ns/user"))
    assert inside("stat -c %u:%g /dev/mqueue; readlink /proc/self/ns/ipc", joined).splitlines()[0] == "0:0"
    assert os.readlink(holder.proc("ns/ipc")) != os.readlink("/proc/self/ns/ipc")


def test_options_may_be_joined_by_commas(inside):
    assert inside("stat -c %a /home", mount("/home", "tmpfs", "tmpfs", "size=64k,mode=0700")) == "700"


def test_an_unknown_filesystem_is_an_error(containers):
    said = containers.refused(mount("/home", "nofs", "none"))
    assert '/mounts/7  {"destination": "/home", "type": "nofs", "source": "none"}' in said
    assert "ENODEV" in said
    assert "the kernel has no filesystem 'nofs'" in said


def test_a_misspelt_option_is_an_error_with_the_option_that_was_meant(containers):
    said = containers.refused(mount("/home", "tmpfs", "tmpfs", "nosuidd"))
    assert "Unknown parameter 'nosuidd'" in said
    assert "did you mean 'nosuid'?" in said


@pytest.mark.clause("config.md#linux-mount-options/unknown-is-data")
def test_an_unknown_option_is_an_error_that_names_it(containers):
    said = containers.refused(mount("/home", "tmpfs", "tmpfs", "colour=blue"))
    assert "/mounts/7" in said
    assert "colour" in said


@pytest.mark.parametrize("option", ["c" * 5000, "c" * 256 + "=blue", "c" * 5000 + "=blue"], ids=lambda o: str(len(o)))
def test_the_name_of_an_option_may_be_too_long_for_the_kernel(containers, option):
    said = containers.refused(mount("/home", "tmpfs", "tmpfs", option))
    assert "/mounts/7" in said
    assert ("EINVAL" if len(option) < 4096 else "E2BIG") in said


def test_a_mount_without_type_and_bind_is_an_error(containers):
    assert "/mounts/7" in containers.refused(mount("/home", None, "source"))


@pytest.mark.clause("runtime.md#errors/no-trace")
def test_a_mount_that_fails_undoes_the_ones_before(containers, folder, host_mounts):
    before = host_mounts()
    containers.refused(bind(folder, "/home"), mount("/var", "nofs", "none"))
    assert host_mounts() == before


# ---- Control groups ----

CONTROLLERS = ("cpu", "cpuset", "memory", "devices", "freezer", "pids", "blkio")


@pytest.fixture
def hierarchies():
    """The controllers that are mounted as v1 hierarchies."""
    found = [line.split()[1].rpartition("/")[2] for line in open("/proc/mounts") if line.split()[2] == "cgroup"]
    if not found:
        pytest.skip("needs cgroup v1")
    return found


def test_cgroup_shows_the_containers_own_groups_in_a_cgroup_namespace(containers, hierarchies):
    container = containers.start()
    for name in {"memory", "pids", "cpu"} & set(hierarchies):
        tasks = container.path(f"/sys/fs/cgroup/{name}/cgroup.procs").read_text().split()
        assert str(container.pid) in tasks


def test_cgroup_shows_the_containers_own_groups_without_a_cgroup_namespace(containers, hierarchies):
    container = containers.start(inherit("cgroup"))
    for name in {"memory", "pids", "cpu"} & set(hierarchies):
        tasks = container.path(f"/sys/fs/cgroup/{name}/cgroup.procs").read_text().split()
        assert str(container.pid) in tasks


def test_cgroup_can_be_read_only(inside, hierarchies):
    assert "Read-only file system" in inside("mkdir /sys/fs/cgroup/pids/mine 2>&1 || true")


def test_cgroup_can_be_writable(inside, hierarchies):
    changes = unmount("/sys/fs/cgroup"), mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "rw")
    assert inside("mkdir /sys/fs/cgroup/pids/mine && rmdir /sys/fs/cgroup/pids/mine && echo made", *changes) == "made"


def test_cgroup2_is_the_unified_hierarchy(containers):
    if "cgroup2" not in open("/proc/mounts").read():
        pytest.skip("needs a unified cgroup hierarchy")
    container = containers.start(mount("/home", "cgroup2", "cgroup2", "ro"))
    assert str(container.pid) in container.path("/home/cgroup.procs").read_text().split()


# ---- In a user namespace ----


def test_filesystems_are_mounted_in_a_user_namespace(inside):
    script = "awk '{print $3}' /proc/mounts"
    found = inside(script, mapped(), mount("/home", "tmpfs", "tmpfs", "size=64k"))
    assert {"proc", "sysfs", "tmpfs", "devpts", "mqueue"} <= set(found.split())


def test_sources_are_opened_with_the_runtimes_rights(inside, tmp_path):
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    (closed / "data/file").write_text("content")
    closed.chmod(0o700)
    assert inside("cat /home/file", mapped(), bind(closed / "data", "/home")) == "content"


def test_what_a_process_mounts_stays_inside(containers, tmp_path, folder, host_mounts):
    before = host_mounts()
    script = "mount -t tmpfs secret /home/sub && sleep 1000"
    container = containers.start(bind(folder, "/home"), capable("SYS_ADMIN"), user(uid=0, gid=0), script=script)
    until(lambda: "secret" in container.proc("mountinfo").read_text(), "the mount")
    assert host_mounts() == before
    assert any(one.path == "/home/sub" for one in mounts(container.proc("mountinfo").read_text()))
