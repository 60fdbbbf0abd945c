"""A tmpfs: its mode, and what it starts with (config.md#linux-mount-options)."""

import os

import pytest

from changes import mapped, mount, unmount

pytestmark = pytest.mark.clause("config.md#linux-mount-options")


# ---- Mode and owner ----


@pytest.fixture
def modes(tmp_path):
    """modes(name=mode, …) gives directories of the test's own root filesystem, the first bundle's, these modes."""

    def directories(**wanted):
        def change(_config):
            for name, mode in wanted.items():
                path = tmp_path / "bundle1/rootfs" / name
                path.mkdir(exist_ok=True)
                path.chmod(mode)

        return change

    return directories


OPTIONS = [(), ("tmpcopyup",), ("silent",), ("tmpcopyup", "silent"), ("size=64k", "ro")]


@pytest.fixture(params=["", "user namespace"])
def more(request, tmp_path):
    """Changes that ask for a user namespace whose root owns the root filesystem, or for none."""

    def owned(_config):
        for directory, _, names in os.walk(tmp_path / "bundle1/rootfs"):
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                os.chown(path, 100000, 100000, follow_symlinks=False)

    return (mapped(), owned) if request.param else ()


@pytest.mark.parametrize("options", OPTIONS, ids=",".join)
def test_a_tmpfs_has_the_mode_of_the_directory_that_it_covers(inside, modes, options, more):
    script = "stat -c %a /root /run /tmp /home"
    changes = [mount(f"/{name}", "tmpfs", "tmpfs", *options) for name in ("root", "run", "tmp", "home")]
    given = modes(root=0o700, run=0o755, tmp=0o1777, home=0o2770)
    assert inside(script, given, *changes, *more, own=True).split() == ["700", "755", "1777", "2770"]


@pytest.mark.parametrize("options", OPTIONS, ids=",".join)
def test_a_tmpfs_where_nothing_was_is_open_to_all(inside, options, more):
    made = [mount(place, "tmpfs", "tmpfs", *options) for place in ("/fresh", "/dev/deep/er")]
    assert inside("stat -c %a /fresh /dev/deep/er", *made, *more, own=True).split() == ["1777", "1777"]


def test_a_missing_directory_below_a_tmpfs_counts_as_missing(inside):
    """Podman's containers with systemd: /run/lock lies in the /run that was mounted just before."""
    options = ("rprivate", "nosuid", "nodev", "tmpcopyup")
    run, lock = mount("/run", "tmpfs", "tmpfs", *options), mount("/run/lock", "tmpfs", "tmpfs", *options)
    assert inside("stat -c %a /run/lock", run, lock, own=True) == "1777"


def test_a_missing_directory_below_a_read_only_root_counts_as_missing(inside):
    def read_only(config):
        config["root"]["readonly"] = True

    assert inside("stat -c %a /fresh", read_only, mount("/fresh", "tmpfs", "tmpfs"), own=True) == "1777"


@pytest.mark.parametrize("option", ["tmpcopyup", "nosuid"])
def test_the_mode_that_is_asked_for_holds(inside, option):
    options = ("mode=1750", option)
    places = [mount(place, "tmpfs", "tmpfs", *options) for place in ("/root", "/fresh")]
    assert inside("stat -c %a /root /fresh", *places, own=True).split() == ["1750", "1750"]


def test_an_owner_that_is_asked_for_leaves_the_mode_of_what_is_covered(inside, modes):
    given = modes(home=0o710)
    place = mount("/home", "tmpfs", "tmpfs", "uid=12", "gid=34", "tmpcopyup")
    assert inside("stat -c '%a %u %g' /home", given, place, own=True) == "710 12 34"


def test_the_owner_is_root_but_with_tmpcopyup_that_of_what_is_covered(inside, modes, tmp_path):
    given = modes(home=0o700, opt=0o700)

    def owned(config):
        for name in ("home", "opt"):
            os.chown(tmp_path / "bundle1/rootfs" / name, 12, 34)

    places = mount("/home", "tmpfs", "tmpfs"), mount("/opt", "tmpfs", "tmpfs", "tmpcopyup")
    found = inside("stat -c '%a %u %g' /home /opt", given, owned, *places, own=True)
    assert found.splitlines() == ["700 0 0", "700 12 34"]


def test_dev_has_the_mode_of_the_directory_that_it_covers(inside, modes):
    given = modes(dev=0o751)
    dev = unmount("/dev"), lambda config: config["mounts"].insert(1, {"destination": "/dev", "type": "tmpfs"})
    assert inside("stat -c %a /dev", given, *dev, own=True) == "751"


def test_a_filesystem_that_is_no_tmpfs_keeps_its_own_mode(inside, modes):
    given = modes(home=0o700)
    assert inside("stat -c %a /home", given, mount("/home", "mqueue", "mqueue"), own=True) == "1777"


# ---- tmpcopyup ----


def test_tmpcopyup_starts_with_what_it_covers(inside):
    script = "ls -l /etc/passwd; cat /etc/group; echo more >> /etc/group; grep ' /etc ' /proc/mounts"
    found = inside(script, mount("/etc", "tmpfs", "tmpfs", "tmpcopyup"))
    assert "/etc/passwd" in found
    assert "nogroup:x:65534:" in found
    assert "tmpfs /etc tmpfs" in found


def test_tmpcopyup_leaves_what_it_covers_as_it_was(containers):
    container = containers.create(
        mount("/etc", "tmpfs", "tmpfs", "tmpcopyup"), script="echo more >> /etc/group", own=True
    )
    before = (container.bundle / "rootfs/etc/group").read_text()
    container.start()
    container.wait()
    assert (container.bundle / "rootfs/etc/group").read_text() == before


def test_tmpcopyup_keeps_modes_owners_and_links(containers, tmp_path):
    def fill(config):
        place = tmp_path / "bundle1/rootfs/home"
        (place / "sub").mkdir(mode=0o750)
        (place / "sub/file").write_text("x" * 100000)
        os.chown(place / "sub/file", 12, 34)  # which clears the set-user-ID bit
        (place / "sub/file").chmod(0o4711)
        (place / "link").symlink_to("sub/file")
        os.mkfifo(place / "fifo", 0o600)

    script = """
    stat -c '%a %u %g %s' /home/sub/file
    stat -c %a /home/sub
    readlink /home/link
    test -p /home/fifo && echo fifo
    """
    found = containers.inside(script, fill, mount("/home", "tmpfs", "tmpfs", "tmpcopyup"), own=True)
    assert found.splitlines() == ["4711 12 34 100000", "750", "sub/file", "fifo"]


def test_tmpcopyup_is_for_tmpfs_only(containers):
    assert "tmpcopyup" in containers.refused(mount("/home", "proc", "proc", "tmpcopyup"))
