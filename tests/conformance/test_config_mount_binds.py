"""Options of bind mounts: what they cannot have, what stays of the source, links, maps as crun writes them."""

import itertools
import os
import subprocess

import pytest
from containers import mounts

from changes import bind, mapped, mount

pytestmark = pytest.mark.clause("config.md#linux-mount-options")


@pytest.fixture
def data(tmp_path):
    """A directory of uid 5 and gid 6 on a tmpfs of its own."""
    path = tmp_path / "data"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "data", path], check=True)
    os.chown(path, 5, 6)
    yield path
    subprocess.run(["umount", path], check=True)


def options_at(text, path):
    """Return the options of the last mount at `path` of a mountinfo text."""
    return [one.options for one in mounts(text) if one.path == path][-1]


# ---- What a bind mount cannot have ----


@pytest.mark.parametrize("option", ["readonly", "size", "ro,nosuid", "z"])
def test_an_option_of_a_filesystem_is_an_error_at_its_place(containers, data, option):
    said = containers.refused(bind(data, "/home", "nosuid", option))
    assert "/mounts/7/options/2" in said
    assert f'"{option}"' in said
    assert "config.md#linux-mount-options" in said


def test_what_was_probably_meant_is_said(containers, data):
    assert "did you mean ro?" in containers.refused(bind(data, "/home", "readonly"))


def test_tmpcopyup_is_not_for_a_bind_mount(containers, data):
    assert "/mounts/7/options/1" in containers.refused(bind(data, "/home", "tmpcopyup"))


def test_what_mount_8_keeps_to_itself_is_accepted(inside, data):
    inside("true", bind(data, "/home", "defaults", "nofail", "x-systemd.automount", "comment=words"))


def test_an_option_of_the_superblock_has_no_effect_and_a_warning(containers, data):
    done = containers.run("grep ' /home ' /proc/self/mountinfo", bind(data, "/home", "sync"))
    assert "sync" not in done.stdout
    assert "without effect" in done.stderr
    assert "sync" in done.stderr


# ---- What stays of the source ----

FLAGS = ("nosuid", "nodev", "noexec")
COMBINATIONS = [
    tuple(flag for flag, on in zip(FLAGS, bits, strict=True) if on) for bits in itertools.product((0, 1), repeat=3)
]


@pytest.mark.parametrize("flags", COMBINATIONS, ids=",".join)
def test_without_an_attribute_all_of_the_sources_stay(inside, data, flags):
    subprocess.run(["mount", "-o", f"remount,bind,{','.join(flags)}", data], check=True)
    found = options_at(inside("cat /proc/self/mountinfo", bind(data, "/home", "rprivate", kind="rbind")), "/home")
    assert found & {*FLAGS} == {*flags}


@pytest.mark.parametrize("named", ["ro", "rw", "nosuid", "noexec", "relatime"])
@pytest.mark.parametrize("more", [(), (mapped(),)], ids=["", "user namespace"])
@pytest.mark.parametrize("flags", COMBINATIONS, ids=",".join)
def test_with_one_attribute_none_of_the_sources_stays(inside, data, flags, more, named):
    subprocess.run(["mount", "-o", f"remount,bind,{','.join(flags)}", data], check=True)
    found = options_at(inside("cat /proc/self/mountinfo", bind(data, "/home", named, kind="rbind"), *more), "/home")
    assert found & {*FLAGS} == {named} & {*FLAGS}
    assert ("ro" in found) == (named == "ro")


def test_a_mount_below_keeps_what_it_has(inside, data):
    (data / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,noexec", "below", data / "sub"], check=True)
    try:
        text = inside("cat /proc/self/mountinfo", bind(data, "/home", "ro", kind="rbind"))
    finally:
        subprocess.run(["umount", data / "sub"], check=True)
    assert {"nosuid", "noexec", "rw"} <= options_at(text, "/home/sub")


def test_what_is_asked_for_recursively_goes_before_what_is_not_named(inside, data):
    subprocess.run(["mount", "-o", "remount,bind,nodev", data], check=True)
    text = inside("cat /proc/self/mountinfo", bind(data, "/home", "ro", "rnosuid", kind="rbind"))
    assert options_at(text, "/home") & {*FLAGS, "ro"} == {"ro", "nosuid"}


def test_what_the_kernel_has_locked_stays(containers, runtime, data):
    """In a user namespace around the runtime the host's flags are locked: what is not named stays, as with runc."""
    subprocess.run(["mount", "-o", "remount,bind,nosuid,nodev,noexec", data], check=True)
    path = containers.bundle("cat /proc/self/mountinfo", bind(data, "/home", "ro"), one_id)
    found = options_at(in_user_namespace(runtime, path, containers), "/home")
    assert {"ro", *FLAGS} <= found


def test_what_the_kernel_has_locked_cannot_be_taken_back_by_name(containers, runtime, data):
    subprocess.run(["mount", "-o", "remount,bind,nosuid", data], check=True)
    path = containers.bundle("true", bind(data, "/home", "suid"), one_id)
    said = in_user_namespace(runtime, path, containers, status=1)
    assert "EPERM" in said
    assert "/mounts/7" in said


def one_id(config):
    """Change a configuration for a user namespace of one id that cannot limit resources."""
    config["linux"].pop("resources", None)
    for entry in config["mounts"]:
        if entry["destination"] == "/dev/pts":
            entry["options"].remove("gid=5")


def in_user_namespace(runtime, path, containers, status=0):
    """Return what `run` prints in a user namespace around the runtime, which must end with `status`."""
    command = ["unshare", "--user", "--map-root-user", "--mount", *runtime.command("run", "-b", path, runtime.id())]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- Links: crun's options ----


@pytest.fixture
def link(data):
    """A link to a file that has content, both on a tmpfs of the host."""
    (data / "target").write_text("content\n")
    (data / "link").symlink_to("target")
    return data / "link"


SPACES = pytest.mark.parametrize("more", [(), (mapped(),)], ids=["", "user namespace"])


@SPACES
def test_copy_symlink_makes_the_link(inside, link, more):
    found = inside(
        "readlink /dev/copy; grep -c /dev/copy /proc/mounts || true", bind(link, "/dev/copy", "copy-symlink"), *more
    )
    assert found.splitlines() == ["target", "0"]


def test_copy_symlink_binds_what_is_no_link(inside, data, link):
    assert inside("cat /dev/copy", bind(data / "target", "/dev/copy", "copy-symlink")) == "content"


def test_copy_symlink_takes_the_same_link_that_is_there(inside, tmp_path, link):
    def there(config):
        (tmp_path / "bundle1/rootfs/copy").symlink_to("target")

    assert inside("readlink /copy", there, bind(link, "/copy", "copy-symlink"), own=True) == "target"


@pytest.mark.parametrize("other", ["link", "file", "directory"])
def test_copy_symlink_refuses_what_is_there(containers, tmp_path, link, other):
    def there(config):
        place = tmp_path / "bundle1/rootfs/copy"
        {"link": lambda: place.symlink_to("elsewhere"), "file": place.touch, "directory": place.mkdir}[other]()

    said = containers.refused(there, bind(link, "/copy", "copy-symlink"), own=True)
    assert "EEXIST" in said
    assert "/mounts/7" in said
    assert os.path.lexists(tmp_path / "bundle1/rootfs/copy")


@SPACES
def test_src_nofollow_binds_the_link_itself(inside, link, more):
    found = inside("readlink /dev/bound", bind(link, "/dev/bound", "src-nofollow"), *more)
    assert found == "target"


def test_src_nofollow_takes_a_dangling_link(inside, data):
    (data / "dangling").symlink_to("/nowhere/at/all")
    assert inside("readlink /dev/bound", bind(data / "dangling", "/dev/bound", "src-nofollow")) == "/nowhere/at/all"


@SPACES
def test_dest_nofollow_covers_the_link_and_not_where_it_leads(inside, tmp_path, data, link, more):
    def there(config):
        root = tmp_path / "bundle1/rootfs"
        (root / "place").symlink_to("elsewhere")
        (root / "elsewhere").write_text("elsewhere\n")

    script = "cat /place /elsewhere"
    found = inside(script, there, bind(data / "target", "/place", "dest-nofollow"), *more, own=True)
    assert found.splitlines() == ["content", "elsewhere"]


def test_without_dest_nofollow_the_link_is_followed(inside, tmp_path, data, link):
    def there(config):
        root = tmp_path / "bundle1/rootfs"
        (root / "place").symlink_to("elsewhere")
        (root / "elsewhere").write_text("elsewhere\n")

    assert inside("cat /elsewhere", there, bind(data / "target", "/place"), own=True) == "content"


def test_both_ends_may_be_links(inside, tmp_path, link):
    def there(config):
        (tmp_path / "bundle1/rootfs/place").symlink_to("elsewhere")

    found = inside("readlink /place", there, bind(link, "/place", "src-nofollow", "dest-nofollow"), own=True)
    assert found == "target"


@pytest.mark.parametrize(
    ("options", "number"), [(("copy-symlink", "src-nofollow"), 1), (("dest-nofollow", "copy-symlink"), 2)]
)
def test_copy_symlink_excludes_the_others(containers, link, options, number):
    assert f"/mounts/7/options/{number}" in containers.refused(bind(link, "/dev/x", *options))


@pytest.mark.parametrize("option", ["copy-symlink", "src-nofollow", "dest-nofollow"])
def test_options_for_links_are_for_bind_mounts(containers, option):
    assert "/mounts/7/options/0" in containers.refused(mount("/home", "tmpfs", "tmpfs", option))


@pytest.mark.parametrize("path", ["/proc", "/sys/"])
def test_no_link_is_copied_to_proc_and_sys(containers, link, path):
    assert "/mounts/7/options/1" in containers.refused(bind(link, path, "copy-symlink"))


# ---- crun's idmap= and ridmap= ----


@pytest.mark.parametrize(
    ("maps", "owner"),
    [
        ("uids=0-1000-10;gids=0-2000-10", "1005 2006"),
        ("gids=0-2000-10;uids=0-1000-10", "1005 2006"),
        ("uids=0-1000-5#5-7000-1;gids=6-8000-1", "7000 8000"),
        ("uids=5-1-1;gids=0-0-5", "1 65534"),
    ],
)
def test_maps_in_an_option_translate_owners(inside, data, maps, owner):
    assert inside("stat -c '%u %g' /home", bind(data, "/home", f"idmap={maps}")) == owner


@pytest.mark.parametrize(("option", "below"), [("idmap", "5 6"), ("ridmap", "1005 1006")])
def test_ridmap_holds_for_the_mounts_below(inside, data, option, below):
    (data / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", data / "sub"], check=True)
    os.chown(data / "sub", 5, 6)
    try:
        place = bind(data, "/home", f"{option}=uids=0-1000-10;gids=0-1000-10", kind="rbind")
        assert inside("stat -c '%u %g' /home /home/sub", place).splitlines() == ["1005 1006", below]
    finally:
        subprocess.run(["umount", data / "sub"], check=True)


def test_a_relative_map_counts_in_the_containers_user_namespace(inside, data):
    place = bind(data, "/home", "idmap=uids=@5-33-1;gids=@0-100-10")
    assert inside("stat -c '%u %g' /home", mapped(first=100000), place) == "33 106"


def test_a_relative_map_takes_the_range_that_holds_the_id(inside, data):
    def ranges(config):
        mapped()(config)
        two = [{"containerID": 0, "hostID": 100000, "size": 1}, {"containerID": 1, "hostID": 200000, "size": 70000}]
        config["linux"].update(uidMappings=two, gidMappings=two)

    place = bind(data, "/home", "idmap=uids=@5-3-1;gids=6-200009-1")
    assert inside("stat -c '%u %g' /home", ranges, place) == "3 10"


@pytest.mark.parametrize(
    "maps",
    [
        *("", "uids=0-1-1", "gids=0-1-1", "uids=0-1-1;gids=", "uids=0-1;gids=0-1-1", "uids=0-1-1;gids=0-1-x"),
        *("uids=0-1-0;gids=0-1-1", "uids=0-1-1;uids=0-1-1", "uids=0-1-1;gids=0-1-1;pids=0-1-1"),
        *("uids=0-4294967296-1;gids=0-1-1", "uids=0-1-2#1-9-1;gids=0-1-1", "uids=@0-1-1;gids=0-1-1"),
        *("uids=0-4294967290-10;gids=0-1-1", "uids=-1-1-1;gids=0-1-1", "uids=0-1-1 ;gids=0-1-1"),
    ],
)
def test_maps_that_are_wrong_are_an_error_at_the_option(containers, data, maps):
    said = containers.refused(bind(data, "/home", "rprivate", f"idmap={maps}"))
    assert "/mounts/7/options/2" in said
    assert "expected" in said or "overlap" in said


def test_maps_in_an_option_and_in_the_mount_are_an_error(containers, data):
    def owners(config):
        one = [{"containerID": 0, "hostID": 0, "size": 1}]
        config["mounts"][-1].update(uidMappings=one, gidMappings=one)

    assert "/mounts/7/options/1" in containers.refused(bind(data, "/home", "idmap=uids=0-1-1;gids=0-1-1"), owners)


def test_a_relative_map_outside_of_the_user_namespace_is_an_error(containers, data):
    place = bind(data, "/home", "idmap=uids=@0-70000-1;gids=0-1-1")
    assert "linux.uidMappings" in containers.refused(mapped(size=65536), place)


# ---- Sources that earlier mounts bring, and destinations as the host sees them ----


@pytest.fixture
def nested(tmp_path):
    """Changes that mount a directory at /mnt, another in it, and what is then there at /final."""
    (tmp_path / "a/x").mkdir(parents=True)
    (tmp_path / "b/y").mkdir(parents=True)
    (tmp_path / "b/y/file").write_text("b/y\n")

    def change(source):
        return (
            bind(tmp_path / "a", "/mnt", kind="rbind"),
            bind(tmp_path / "b", "/mnt/x", kind="rbind"),
            bind(source, "/final", kind="rbind"),
        )

    return change


@SPACES
@pytest.mark.clause("config.md#mounts/listed-order")
def test_a_source_may_be_what_an_earlier_mount_brings(inside, tmp_path, nested, more):
    def owned(config):
        subprocess.run(["chown", "-R", "100000:100000", tmp_path / "bundle1/rootfs"], check=True)

    changes = *nested(tmp_path / "bundle1/rootfs/mnt/x"), *((owned, *more) if more else ())
    assert inside("cat /final/y/file", *changes, own=True) == "b/y"


@pytest.mark.parametrize("way", ["relative", "by a link"])
def test_the_way_to_the_root_filesystem_does_not_matter(inside, tmp_path, nested, way):
    (tmp_path / "link").symlink_to(tmp_path / "bundle1")
    source = {"relative": "rootfs/mnt/x", "by a link": tmp_path / "link/rootfs/mnt/x"}[way]
    assert inside("cat /final/y/file", *nested(source), own=True) == "b/y"


@SPACES
def test_what_an_earlier_mount_covers_is_not_bound(inside, tmp_path, nested, more):
    def there(config):
        (tmp_path / "bundle1/rootfs/mnt/x/y").mkdir(parents=True)
        (tmp_path / "bundle1/rootfs/mnt/x/y/file").write_text("covered\n")
        subprocess.run(["chown", "-R", "100000:100000", tmp_path / "bundle1/rootfs"], check=True)

    changes = there, *nested(tmp_path / "bundle1/rootfs/mnt/x"), *more
    assert inside("cat /final/y/file", *changes, own=True) == "b/y"


def test_a_source_in_the_root_filesystem_never_leads_out_of_it(inside, tmp_path):
    """A link of the image, wherever it leads, is resolved in the container's root."""

    def there(config):
        root = tmp_path / "bundle1/rootfs"
        (root / "secret").write_text("the container's\n")
        (root / "way").symlink_to("/secret")

    (tmp_path / "secret").write_text("the host's\n")
    source = tmp_path / "bundle1/rootfs/way"
    assert inside("cat /dev/final", there, bind(source, "/dev/final"), own=True) == "the container's"


def test_a_source_beside_the_root_filesystem_may_be_reached_through_it(inside, tmp_path):
    (tmp_path / "beside").write_text("beside\n")
    assert inside("cat /dev/final", bind("rootfs/../../beside", "/dev/final"), own=True) == "beside"


def test_a_source_that_no_mount_brings_is_an_error(containers, tmp_path):
    said = containers.refused(bind(tmp_path / "bundle1/rootfs/mnt/none", "/final"), own=True)
    assert "ENOENT" in said
    assert "/mounts/7" in said


@pytest.mark.parametrize("root", ["relative", "absolute"])
@pytest.mark.clause("config.md#mounts")
def test_a_destination_with_the_root_filesystems_path_in_front_is_an_error(containers, runtime, tmp_path, root):
    def change(config):
        if root == "absolute":
            config["root"]["path"] = str(tmp_path / "bundle1/rootfs")

    place = mount(tmp_path / "bundle1/rootfs/mnt", "tmpfs", "tmpfs")
    said = containers.refused(place, change, own=True)
    assert "/mounts/7/destination" in said
    assert "did you mean /mnt?" in said
    found = runtime("validate", "-b", tmp_path / "bundle1", check=False)
    assert found.returncode == 1
    assert "/mounts/7/destination" in found.stderr
