"""Root filesystems made by an attacker: nothing outside of them is read, made or changed, and create does not hang."""
# ruff: noqa: B023, F401, F811
# Fixtures are imported from host.py, and lambdas are called at once.

import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import subprocess

import pytest
from host import SECRET, host, keeper

DATA = {"destination": "/data", "type": "tmpfs", "source": "tmpfs"}


def replace(place, make) -> None:
    """Put what make(place) makes in the place of the file or directory there."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place)


def link(target):
    """Return a maker of a link to `target`."""
    return lambda place: os.symlink(target, place)


def make_socket(place) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(place.parent, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/{place.name}")
        os.close(folder)


NODES = {
    "a FIFO": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda place: os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "a file": lambda place: place.write_text("x"),
}
LINKS = [
    "/",
    "../../../../../../../..",
    "/etc",
    "/proc/self/root",
    "/proc/self/cwd/..",
    "{outside}",
    "{outside}/directory",
    "{outside}/missing",
    "../../../../../../../../../../../..{outside}/directory",
    "/nowhere",
    "self",
]


def tmpfs(destination):
    """Return a change of the configuration: a tmpfs at `destination`."""
    return lambda config: config["mounts"].append({"destination": destination, "type": "tmpfs", "source": "tmpfs"})


def bind(source, destination, *options):
    """Return a change of the configuration: `source` bound at `destination`."""
    return lambda config: config["mounts"].append(
        {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}
    )


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_procfs_and_sysfs_are_never_mounted_through_a_link(host, name, subtests):
    for target in ("/etc", "/", f"../../..{host.outside}", "/tmp"):
        with subtests.test(target=target):
            result = host.attack(lambda rootfs: replace(rootfs / name, link(target)))
            assert result.returncode == 1
            assert f"/{name}" in result.stderr and "ELOOP" in result.stderr and "inside" not in result.stdout


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_place_for_a_filesystem_that_is_no_directory_is_an_error(host, name, subtests):
    for kind, make in NODES.items():
        with subtests.test(kind=kind):
            result = host.attack(lambda rootfs: replace(rootfs / name, make))
            assert result.returncode == 1
            assert re.search(f"cannot mount (proc|sysfs|tmpfs) at /{name}: ", result.stderr)
            assert "ENOTDIR" in result.stderr


def test_a_link_in_the_place_of_dev_leads_nowhere_outside(host, subtests):
    for target in LINKS:
        with subtests.test(target=target):
            result = host.attack(
                lambda rootfs: replace(rootfs / "dev", link(target.format(outside=host.outside))),
                script="cat /dev/null && echo inside",
            )
            assert SECRET not in result.stdout
            assert result.returncode == 1 or result.stdout == "inside\n"


@pytest.mark.parametrize("destination", ["/place/data", "/../../place/../place/data", "place/data"])
def test_a_link_on_the_way_of_a_destination_leads_nowhere_outside(host, destination, subtests):
    source = host.outside.with_name("source")
    source.write_text("the bound file")
    for target in LINKS:
        with subtests.test(target=target):
            result = host.attack(
                lambda rootfs: replace(rootfs / "place", link(target.format(outside=host.outside))),
                bind(source, destination, "ro"),
                f"cat {os.path.normpath('/' + destination)}; cat /proc/mounts",
            )
            assert SECRET not in result.stdout
            assert result.returncode == 1 or "the bound file" in result.stdout


@pytest.mark.parametrize(("destination", "damage"), [("/cache", ""), ("/way/data", "way")])
def test_a_remount_changes_no_mount_that_only_a_link_names(host, destination, damage):
    """The image leads an entry that makes something writable to another mount, which is to stay read-only."""

    def mislead(rootfs):
        (rootfs / "data").mkdir()
        (rootfs / (damage or "cache")).symlink_to("/" if damage else "/data")

    remount = {"destination": destination, "type": "none", "source": "none", "options": ["remount", "bind", "rw"]}
    entries = [{**DATA, "options": ["ro"]}, remount]
    result = host.attack(mislead, lambda config: config["mounts"].extend(entries), "touch /data/x && echo written")
    assert "written" not in result.stdout
    assert result.returncode == 1 and "ELOOP" in result.stderr and "/mounts/" in result.stderr


def test_a_remount_of_an_own_mount_behind_a_link_works(host):
    """The mount is the one of the entry before, wherever the link leads."""

    def lead(rootfs):
        (rootfs / "run").mkdir(exist_ok=True)
        (rootfs / "var").mkdir(exist_ok=True)
        replace(rootfs / "var/run", link("/run"))

    entry = {**DATA, "destination": "/var/run/data"}
    entries = [entry, {**entry, "options": ["remount", "ro"]}]
    script = "touch /run/data/x || grep ' /run/data ' /proc/mounts"
    result = host.attack(lead, lambda config: config["mounts"].extend(entries), script)
    assert result.returncode == 0 and " ro," in result.stdout, result.stderr


def test_a_directory_is_made_inside_where_a_link_names_one_outside(host):
    result = host.attack(
        lambda rootfs: replace(rootfs / "place", link(f"{host.outside}/new")),
        tmpfs("/place/deeper/still"),
        f"grep ' {host.outside}/new/deeper/still tmpfs' /proc/mounts",
    )
    assert result.returncode == 0, result.stderr


def test_destinations_that_climb_stay_below_the_root(host):
    climbing = "/" + "../" * 30 + str(host.outside)[1:] + "/directory/new"
    result = host.attack(None, tmpfs(climbing), f"grep ' {host.outside}/directory/new tmpfs' /proc/mounts")
    assert result.returncode == 0, result.stderr


def test_links_in_a_circle_are_an_error(host):
    def circle(rootfs) -> None:
        (rootfs / "one").symlink_to("two")
        (rootfs / "two").symlink_to("/one")

    result = host.attack(circle, tmpfs("/one/data"))
    assert result.returncode == 1 and "ELOOP" in result.stderr


@pytest.mark.parametrize(("count", "works"), [(39, True), (60, False)])
def test_a_chain_of_links_is_followed_as_far_as_the_kernel_would(host, count, works):
    def chain(rootfs) -> None:
        for index in range(count):
            (rootfs / f"link{index}").symlink_to(f"link{index + 1}")

    result = host.attack(chain, tmpfs("/link0/data"), f"grep /link{count}/data /proc/mounts")
    assert (result.returncode == 0) == works, result.stderr
    assert works or "ELOOP" in result.stderr


@pytest.mark.parametrize("kind", NODES)
def test_a_destination_below_what_is_no_directory_is_an_error(host, kind):
    result = host.attack(lambda rootfs: replace(rootfs / "place", NODES[kind]), tmpfs("/place/data"))
    assert result.returncode == 1 and "ENOTDIR" in result.stderr


@pytest.mark.parametrize("kind", NODES)
def test_a_file_bound_over_a_node_covers_it(host, kind):
    source = host.outside.with_name("source")
    source.write_text("the bound file")
    result = host.attack(
        lambda rootfs: replace(rootfs / "place", NODES[kind]), bind(source, "/place", "ro"), "cat /place"
    )
    assert result.returncode == 0 and result.stdout == "the bound file", result.stderr


def test_a_file_bound_over_a_link_to_the_own_environment_stays_inside(host):
    source = host.outside.with_name("source")
    source.write_text("nameserver ::1")
    result = host.attack(
        lambda rootfs: replace(rootfs / "etc/resolv.conf", link("/proc/self/environ")),
        bind(source, "/etc/resolv.conf", "ro"),
    )
    # Refused, or bound over the environment of nobody but a process of this container.
    assert result.returncode == 1 or result.stdout == "inside\n"


def test_a_device_is_not_taken_from_the_root_filesystem(host, subtests):
    def no_dev(config) -> None:
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]

    false_nodes = {
        "a link to a file of the host": link(f"{host.outside}/file"),
        "another device": NODES["a device"],
        "a file": NODES["a file"],
        "a directory": os.mkdir,
    }
    for kind, make in false_nodes.items():
        with subtests.test(kind=kind):
            result = host.attack(lambda rootfs: replace(rootfs / "dev/null", make), no_dev)
            assert result.returncode == 1 and "/dev/null" in result.stderr


@pytest.mark.parametrize("user_namespace", [False, True])
def test_no_file_is_taken_for_the_null_device_of_the_streams(host, user_namespace):
    """Its stdin is the host's null device, in whose place the container gets its own: never a file of that name."""

    def change(config) -> None:
        bind(host.outside / "file", "/bound")(config)
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        if user_namespace:
            ids = [{"containerID": 0, "hostID": 0, "size": 65536}]
            config["linux"].update(uidMappings=ids, gidMappings=ids)
            config["linux"]["namespaces"].append({"type": "user"})

    def damage(rootfs) -> None:
        replace(rootfs / "dev/null", link("/bound"))

    result = host.attack(damage, change, "readlink /proc/self/fd/0", stdin=subprocess.DEVNULL)
    # That the file has its owner is checked by `host`.
    assert result.returncode == 1 or result.stdout == "/dev/null\n"


def test_masking_does_not_use_the_null_device_of_the_root_filesystem(host):
    def damage(rootfs) -> None:
        (rootfs / "hidden").write_text("hidden")
        replace(rootfs / "dev/null", lambda place: place.write_text("not null"))

    def change(config) -> None:
        bind(host.outside.with_name("dev"), "/dev", "rw")(config)
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev/")]
        config["linux"]["maskedPaths"] = ["/hidden"]

    host.outside.with_name("dev").mkdir()
    host.outside.with_name("dev").joinpath("null").write_text("not null")
    result = host.attack(damage, change, "cat /hidden; stat -c %t:%T /hidden")
    assert result.stdout == "1:3\n", result.stderr


def test_a_masked_path_behind_a_link_hides_what_is_inside_only(host):
    result = host.attack(
        lambda rootfs: replace(rootfs / "place", link(str(host.outside))),
        lambda config: config["linux"].update(maskedPaths=["/place/file"], readonlyPaths=["/place/directory"]),
    )
    assert result.returncode == 0 and result.stdout == "inside\n"


def test_the_working_directory_is_made_inside(host):
    result = host.attack(
        lambda rootfs: replace(rootfs / "place", link(str(host.outside))),
        lambda config: config["process"].update(cwd="/place/new"),
        "pwd -P",
    )
    assert result.stdout == f"{host.outside}/new\n", result.stderr
    assert not (host.outside / "new").exists()


@pytest.mark.parametrize(("depth", "works"), [(100, True), (500, False)])
def test_a_deep_destination_ends_in_a_mount_or_an_error(host, depth, works):
    result = host.attack(None, tmpfs("/" + "/".join(["directory"] * depth)))
    assert (result.returncode == 0) == works, result.stderr
    assert works or "cannot mount tmpfs" in result.stderr


# ---- tmpcopyup: the runtime copies an attacker's tree ----


def copy_up(*options):
    """Return a change of the configuration: a tmpfs at /tree that starts with what is there."""
    return lambda config: config["mounts"].append(
        {"destination": "/tree", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", *options]}
    )


def test_copying_up_waits_for_no_lease(host):
    """Whoever shares the root filesystem could hold up `create` for each file as long as fs.lease-break-time."""
    leased = []

    def damage(rootfs) -> None:
        (rootfs / "tree").mkdir()
        (rootfs / "tree/file").write_text("x")
        leased.append(os.open(rootfs / "tree/file", os.O_RDWR))
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        fcntl.fcntl(leased[0], fcntl.F_SETLEASE, fcntl.F_WRLCK)

    try:
        result = host.attack(damage, copy_up())
    finally:
        os.close(leased[0])
        signal.signal(signal.SIGIO, signal.SIG_DFL)
    assert result.returncode != 0
    assert "a process has a lease on file" in result.stderr


def test_copying_up_follows_no_link_and_opens_no_device(host):
    def damage(rootfs) -> None:
        tree = rootfs / "tree"
        tree.mkdir()
        (tree / "file").symlink_to(host.outside / "file")
        (tree / "folder").symlink_to(host.outside / "directory")
        (tree / "self").symlink_to("/proc/self/root")
        os.mkfifo(tree / "fifo")
        make_socket(tree / "socket")
        NODES["a device"](tree / "device")
        (tree / "device").chmod(0o662)
        (tree / "program").write_text("x")
        os.chown(tree / "program", 1000, 1001)
        (tree / "program").chmod(0o6755)

    result = host.attack(damage, copy_up(), "cd /tree && stat -c '%n %F %a %u:%g' * && readlink file")
    assert result.stdout.splitlines() == [
        "device character special file 662 0:0",
        "fifo fifo 644 0:0",
        "file symbolic link 777 0:0",
        "folder symbolic link 777 0:0",
        "program regular file 6755 1000:1001",
        "self symbolic link 777 0:0",
        str(host.outside / "file"),
    ], result.stderr


def test_a_copied_directory_keeps_owner_and_mode_unless_options_say_otherwise(host, subtests):
    def damage(rootfs) -> None:
        (rootfs / "tree").mkdir(mode=0o750)
        os.chown(rootfs / "tree", 12, 34)

    for options, expected in (([], "750 12:34\n"), (["mode=0711", "uid=7", "gid=8"], "711 7:8\n")):
        with subtests.test(options=options):
            assert host.attack(damage, copy_up(*options), "stat -c '%a %u:%g' /tree").stdout == expected


@pytest.mark.parametrize("mebibytes", [3, 8])
def test_what_is_copied_up_is_under_the_memory_limit(host, mebibytes):
    """Also where init joins the group late, because the limit leaves little room for itself."""

    def damage(rootfs) -> None:
        (rootfs / "tree").mkdir()
        (rootfs / "tree/file").write_bytes(os.urandom(1 << 20) * 64)

    def change(config) -> None:
        copy_up()(config)
        config["linux"]["resources"]["memory"] = {"limit": mebibytes << 20}

    result = host.attack(damage, change)
    assert result.returncode == 1 and result.stdout == ""
    assert "/linux/resources/memory/limit" in result.stderr


@pytest.mark.parametrize(("depth", "works"), [(100, True), (1000, False)])
def test_copying_up_a_deep_tree_ends(host, depth, works):
    def damage(rootfs) -> None:
        (rootfs / "tree").mkdir()
        above = os.open(rootfs / "tree", os.O_RDONLY)
        for _ in range(depth):
            os.mkdir("d", dir_fd=above)
            below = os.open("d", os.O_RDONLY, dir_fd=above)
            os.close(above)
            above = below
        os.close(above)

    result = host.attack(damage, copy_up(), "cd /tree/d/d/d && echo inside")
    assert (result.returncode == 0) == works, result.stderr
    assert works or "ELOOP" in result.stderr
    if not works:
        # Too deep for a path: taken apart from the top, as rm(1) can and the clean-up of the tests cannot.
        shutil.os.system(f"rm -rf '{host.outside.parent}'/bundle*/rootfs/tree")


def test_copying_up_stops_at_the_limit_of_the_tmpfs(host):
    def damage(rootfs) -> None:
        (rootfs / "tree").mkdir()
        with open(rootfs / "tree/sparse", "wb") as file:
            file.truncate(1 << 40)

    result = host.attack(damage, copy_up("size=1m"))
    assert result.returncode == 1 and "ENOSPC" in result.stderr
