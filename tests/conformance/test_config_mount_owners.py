"""Idmapped mounts in every form, and bind mounts in user namespaces (config.md#linux-mount-options)."""

import os
import subprocess
from pathlib import Path

import pytest

from changes import bind, mapped, mount, namespace, user

pytestmark = pytest.mark.clause("config.md#linux-mount-options")


def owners(index=-1, *, first, size=65536, uid=0, gid=None):
    """Give a mount mappings of its own: ids from `uid` and `gid` on in the filesystem are those from `first` on."""

    def change(config):
        entry = {"containerID": uid, "hostID": first, "size": size}
        config["mounts"][index].update(
            uidMappings=[entry], gidMappings=[{**entry, "containerID": uid if gid is None else gid}]
        )

    return change


def filesystem(path):
    command = ["findmnt", "-no", "FSTYPE", "-T", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(params=["ext4", "tmpfs"])
def data(request, tmp_path):
    """A directory of uid 5 and gid 6 on a filesystem that can map owners."""
    path = tmp_path / "data"
    path.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "data", path], check=True)
    elif filesystem(path) != request.param:
        image = tmp_path / "image"
        subprocess.run(["truncate", "-s", "16M", image], check=True)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, path], check=True)
    os.chown(path, 5, 6)
    yield path
    if os.path.ismount(path):
        subprocess.run(["umount", path], check=True)


@pytest.mark.clause("config.md#posix-platform-mounts/uid-mappings-by-setattr", "config.md#linux-mount-options/idmap")
def test_the_mappings_translate_both_ways(inside, data):
    data.chmod(0o777)
    script = "stat -c '%u %g' /home; touch /home/file; stat -c '%u %g' /home/file"
    found = inside(script, bind(data, "/home", "idmap"), owners(first=1000), user(uid=1033, gid=1044))
    assert found.splitlines() == ["1005 1006", "1033 1044"]
    made = (data / "file").stat()
    assert (made.st_uid, made.st_gid) == (33, 44)


def test_mappings_without_the_option_count_too(inside, data):
    assert inside("stat -c '%u %g' /home", bind(data, "/home"), owners(first=1000)) == "1005 1006"


@pytest.mark.clause("config.md#linux-mount-options/idmap-own-mappings")
def test_the_mounts_own_mappings_go_before_those_of_the_user_namespace(inside, data):
    found = inside("stat -c '%u %g' /home", mapped(first=100000), bind(data, "/home", "idmap"), owners(first=100100))
    assert found == "105 106"


def test_ids_without_a_mapping_belong_to_nobody(inside, data):
    found = inside("stat -c '%u %g' /home", bind(data, "/home", "idmap"), owners(first=1000, size=6))
    assert found == "1005 65534"


def test_mounts_may_have_different_mappings(inside, data):
    found = inside(
        "stat -c '%u %g' /home /var /tmp",
        *(bind(data, "/home", "idmap"), owners(first=1000)),
        *(bind(data, "/var", "idmap"), owners(first=2000)),
        bind(data, "/tmp"),
    )
    assert found.splitlines() == ["1005 1006", "2005 2006", "5 6"]


def test_a_single_file_can_be_mapped(inside, data):
    (data / "file").write_text("")
    os.chown(data / "file", 7, 8)
    change = bind(data / "file", "/home/file", "idmap")
    assert inside("stat -c '%u %g' /home/file", change, owners(first=1000)) == "1007 1008"


@pytest.mark.clause("config.md#posix-platform-mounts/uid-mappings-by-setattr")
def test_it_combines_with_other_options(mounted, inside, data):
    change = bind(data, "/home", "idmap", "ro", "nosuid", "noatime")
    assert {"ro", "nosuid", "noatime", "idmapped"} <= mounted("/home", change, owners(first=1000)).options


@pytest.mark.clause("config.md#posix-platform-mounts/uid-mappings-by-setattr", "config.md#linux-mount-options/idmap")
def test_the_mount_on_the_host_is_not_changed(inside, data):
    inside("true", bind(data, "/home", "idmap"), owners(first=1000))
    assert data.stat().st_uid == 5


@pytest.fixture
def user_namespace():
    """The path of a user namespace whose ids from 0 on are those of the host from 100000 on."""
    process = subprocess.Popen(["unshare", "--user", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text("0 100000 65536\n")
        yield f"/proc/{process.pid}/ns/user"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_user_namespace_that_is_joined_lends_its_mappings(inside, data, user_namespace):
    join = namespace("user", user_namespace)
    assert inside("stat -c '%u %g' /home", join, bind(data, "/home", "idmap")) == "5 6"
    assert inside("stat -c '%u %g' /home", join, bind(data, "/home")) == "65534 65534"


def test_a_new_filesystem_can_be_mapped(inside):
    found = inside(
        "stat -c '%u %g' /home", mount("/home", "tmpfs", "tmpfs", "idmap", "uid=5", "gid=6"), owners(first=1000)
    )
    assert found == "1005 1006"


def test_a_filesystem_that_cannot_map_owners_is_an_error(containers):
    said = containers.refused(bind("/proc", "/home", "idmap"), owners(first=1000))
    assert "MOUNT_ATTR_IDMAP" in said
    assert "/mounts/7" in said


def test_a_mount_that_is_there_already_cannot_be_mapped(containers):
    change = mount("/home", None, None, "remount", "bind", "idmap")
    assert "/mounts/8/options" in containers.refused(mount("/home", "tmpfs", "tmpfs"), change, owners(first=1000))


# ---- Sources that the mapped root may not reach ----


@pytest.fixture
def closed(tmp_path):
    """A directory with a file, below one that only the host's root may search."""
    path = tmp_path / "closed" / "data"
    path.mkdir(parents=True)
    (path / "file").write_text("reached")
    (tmp_path / "closed").chmod(0o700)
    return path


@pytest.mark.parametrize("options", [(), ("ro",), ("idmap",)], ids=["plain", "ro", "idmap"])
def test_a_source_that_only_the_host_may_reach_is_mounted(inside, closed, options):
    assert inside("cat /home/file", mapped(), bind(closed, "/home", *options)) == "reached"


def test_it_is_mounted_in_a_user_namespace_that_is_joined(inside, closed, user_namespace):
    assert inside("cat /home/file", namespace("user", user_namespace), bind(closed, "/home")) == "reached"


def test_what_lies_above_the_source_stays_closed(containers, closed):
    done = containers.run("cat /home/data/file", mapped(), bind(closed.parent, "/home"), check=False)
    assert done.returncode != 0
    assert "reached" not in done.stdout
