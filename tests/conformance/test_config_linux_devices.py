"""What is in /dev and the default filesystems (config-linux.md#devices, #default-devices, #default-filesystems)."""

import os
import stat
import subprocess

import pytest
from containers import mounts

from changes import capable, inherit, linux, mapped, mount, namespace, process, top, unmount, user, writable

DEVICES = pytest.mark.clause("config-linux.md#devices")
DEFAULT_DEVICES = pytest.mark.clause("config-linux.md#default-devices")
DEFAULT_FILESYSTEMS = pytest.mark.clause("config-linux.md#default-filesystems")
LINKS = pytest.mark.clause("runtime-linux.md#dev-symbolic-links")
FILE_DESCRIPTORS = pytest.mark.clause("runtime-linux.md#file-descriptors")

DEFAULTS = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}


def nothing_mounted(config):
    """Only what is default: no mounts, no hidden paths."""
    config["mounts"] = []
    for name in ("maskedPaths", "readonlyPaths"):
        config["linux"].pop(name, None)


def device(path, kind="c", major=None, minor=None, **values):
    """Add a configured device."""

    def change(config):
        entry = {"path": path, "type": kind, **values}
        if major is not None:
            entry.update(major=major, minor=minor)
        config["linux"].setdefault("devices", []).append(entry)

    return change


def node(container, path):
    """Return (kind, major, minor, permissions, uid, gid) of a file in the container."""
    status = container.path(path).lstat()
    kind = stat.S_IFMT(status.st_mode)
    number = os.major(status.st_rdev), os.minor(status.st_rdev)
    return kind, *number, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


# ---- Default devices ----


@DEFAULT_DEVICES
@pytest.mark.parametrize("path", DEFAULTS)
@pytest.mark.clause("config-linux.md#default-devices/supplied")
def test_default_devices_are_there_for_everyone(containers, path):
    container = containers.start()
    assert node(container, path) == (stat.S_IFCHR, *DEFAULTS[path], 0o666, 0, 0)


@DEFAULT_DEVICES
@pytest.mark.clause("config-linux.md#default-devices/supplied")
def test_default_devices_work(inside):
    script = """
    echo x > /dev/null
    head -c 4 /dev/zero | xxd -p
    echo x 2>/dev/null > /dev/full && echo wrong || echo full
    head -c 4 /dev/urandom | wc -c
    head -c 4 /dev/random | wc -c
    """
    assert inside(script).split() == ["00000000", "full", "4", "4"]


@DEFAULT_DEVICES
def test_default_devices_work_for_an_ordinary_user(inside):
    assert inside("echo x > /dev/null; head -c 4 /dev/urandom | wc -c", user(uid=1000, gid=1000)) == "4"


@DEFAULT_DEVICES
@pytest.mark.clause("config-linux.md#default-devices/supplied")
def test_default_devices_are_there_without_any_mount(containers):
    container = containers.start(nothing_mounted, writable, own=True)
    for path, number in DEFAULTS.items():
        assert node(container, path)[:3] == (stat.S_IFCHR, *number)


@DEFAULT_DEVICES
def test_default_devices_are_there_twice_from_one_root_filesystem(containers, bundle, runtime):
    path = bundle(lambda config: (nothing_mounted(config), writable(config)), own=True)
    for _ in range(2):
        runtime("create", "-b", path, runtime.id())


@DEFAULT_DEVICES
@pytest.mark.clause("config-linux.md#default-devices/supplied")
def test_console_is_the_terminal(inside):
    script = "stat -c %t:%T /dev/console; stat -c %t:%T /dev/pts/0"
    console, terminal = inside(script, process(terminal=True)).split()
    assert console == terminal == "88:0"


@DEFAULT_DEVICES
def test_without_a_terminal_there_is_no_console(containers):
    assert not containers.start().path("/dev/console").exists()


@DEFAULT_DEVICES
@pytest.mark.clause("config-linux.md#default-devices/supplied")
def test_ptmx_is_that_of_devpts(containers):
    container = containers.start()
    assert container.path("/dev/ptmx").readlink().name == "ptmx"
    assert os.path.samestat((container.path("/dev") / "pts/ptmx").stat(), container.path("/dev/ptmx").stat())


@DEFAULT_DEVICES
def test_ptmx_opens_a_terminal_of_the_container(inside):
    # script(1) is not in busybox; the shell's redirection opens the master as well.
    assert inside("exec 3<>/dev/ptmx; ls /dev/pts | sort", process(noNewPrivileges=False)).split() == ["0", "ptmx"]


# ---- Symbolic links ----


@LINKS
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ],
)
@pytest.mark.clause("runtime-linux.md#dev-symbolic-links/links")
def test_links_in_dev(containers, link, target):
    assert str((containers.start().path("/dev") / link).readlink()) == target


@LINKS
def test_links_in_dev_work(inside):
    script = "echo one > /dev/stdout; echo two > /dev/fd/1; echo three | cat /dev/stdin; echo four > /dev/stderr"
    assert inside(f"({script}) 2>&1 | cat").split() == ["one", "two", "three", "four"]


@LINKS
@FILE_DESCRIPTORS
def test_only_the_standard_streams_are_open(inside):
    # 3 is the directory that ls itself reads.
    assert inside("ls /proc/self/fd").split() == ["0", "1", "2", "3"]


@FILE_DESCRIPTORS
def test_an_open_file_of_the_caller_does_not_reach_the_container(containers, tmp_path):
    (tmp_path / "secret").write_text("secret")
    with open(tmp_path / "secret", "rb") as file:
        os.dup2(file.fileno(), 50)
        try:
            found = containers.inside("ls /proc/self/fd", pass_fds=(50,))
        finally:
            os.close(50)
    assert found.split() == ["0", "1", "2", "3"]


@FILE_DESCRIPTORS
def test_preserved_descriptors_reach_the_container(containers, tmp_path):
    (tmp_path / "given").write_text("given")
    path = containers.bundle("cat <&3; ls /proc/self/fd")
    with open(tmp_path / "given", "rb") as file:
        os.dup2(file.fileno(), 3) if file.fileno() != 3 else None
        command = containers.runtime.command("run", "--preserve-fds", 1, "-b", path, containers.runtime.id())
        done = subprocess.run(
            ["sh", "-c", 'exec 3<"$1"; shift; exec "$@"', "sh", tmp_path / "given", *command],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    assert done.stdout.split() == ["given0", "1", "2", "3", "4"]


# ---- Configured devices ----


@DEVICES
@pytest.mark.clause("config-linux.md#devices/available")
def test_a_character_device(containers):
    container = containers.start(device("/dev/fuse", "c", 10, 229, fileMode=0o640, uid=1, gid=2))
    assert node(container, "/dev/fuse") == (stat.S_IFCHR, 10, 229, 0o640, 1, 2)


@DEVICES
@pytest.mark.clause("config-linux.md#devices/available")
def test_an_unbuffered_character_device(containers):
    assert node(containers.start(device("/dev/raw", "u", 10, 229)), "/dev/raw")[:3] == (stat.S_IFCHR, 10, 229)


@DEVICES
@pytest.mark.clause("config-linux.md#devices/available")
def test_a_block_device(containers):
    container = containers.start(device("/dev/disk", "b", 7, 0, fileMode=0o600, uid=3, gid=4))
    assert node(container, "/dev/disk") == (stat.S_IFBLK, 7, 0, 0o600, 3, 4)


@DEVICES
@pytest.mark.clause("config-linux.md#devices/available")
def test_a_fifo(containers):
    container = containers.start(device("/dev/fifo", "p", fileMode=0o620, uid=5, gid=6))
    assert node(container, "/dev/fifo") == (stat.S_IFIFO, 0, 0, 0o620, 5, 6)


@DEVICES
def test_the_umask_of_the_caller_does_not_change_the_mode(containers):
    before = os.umask(0o777)
    try:
        path = containers.bundle("sleep 1000", device("/dev/fifo", "p", fileMode=0o666))
    finally:
        os.umask(before)
    name = containers.runtime.id()
    containers.runtime("create", "-b", path, name, umask=0o077)
    pid = int(containers.runtime("state", name).stdout.split('"pid": ')[1].split(",")[0])
    assert stat.S_IMODE(os.lstat(f"/proc/{pid}/root/dev/fifo").st_mode) == 0o666


@DEVICES
@pytest.mark.clause("config-linux.md#devices/available")
def test_a_device_outside_of_dev(containers):
    container = containers.start(writable, device("/home/deep/null", "c", 1, 3), own=True)
    assert node(container, "/home/deep/null")[:3] == (stat.S_IFCHR, 1, 3)


@DEVICES
def test_a_configured_device_takes_the_place_of_a_default_one(containers):
    container = containers.start(device("/dev/null", "c", 1, 3, fileMode=0o600, uid=7, gid=8))
    assert node(container, "/dev/null") == (stat.S_IFCHR, 1, 3, 0o600, 7, 8)


@DEVICES
@pytest.mark.clause("config-linux.md#devices/available")
def test_a_file_that_is_the_device_already_is_accepted(containers, tmp_path):
    def prepare(config):
        os.mknod(tmp_path / "bundle1/rootfs/home/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))

    container = containers.start(prepare, writable, device("/home/null", "c", 1, 3, fileMode=0o666), own=True)
    assert node(container, "/home/null")[:4] == (stat.S_IFCHR, 1, 3, 0o666)


@DEVICES
@pytest.mark.parametrize("there", ["file", "other device", "fifo", "directory", "link"])
@pytest.mark.clause("config-linux.md#devices/other-file-in-place")
def test_another_file_in_its_place_is_an_error(containers, tmp_path, there):
    def prepare(config):
        place = tmp_path / "bundle1/rootfs/home/null"
        if there == "file":
            place.touch()
        elif there == "other device":
            os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        elif there == "fifo":
            os.mkfifo(place)
        elif there == "directory":
            place.mkdir()
        else:
            place.symlink_to("/dev/zero")

    said = containers.refused(prepare, writable, device("/home/null", "c", 1, 3), own=True)
    assert "/linux/devices/0" in said


@DEVICES
def test_the_same_device_may_be_listed_twice(containers):
    container = containers.start(device("/dev/one", "c", 10, 229), device("/dev/two", "c", 10, 229))
    assert node(container, "/dev/one")[:3] == node(container, "/dev/two")[:3]


@DEVICES
@pytest.mark.parametrize(
    "change",
    [
        device("/dev/x", "c"),
        device("/dev/x", "b"),
        device("/dev/x", "d", 1, 3),
        device("dev/x", "c", 1, 3),
        device("/dev/x", "c", 1, 3, fileMode=-1),
        device("/dev/x", "c", -1, 3),
        lambda config: config["linux"].update(devices=[{"type": "c", "major": 1, "minor": 3}]),
    ],
)
def test_a_device_that_cannot_be_is_an_error(containers, change):
    assert "/linux/devices/0" in containers.refused(change)


@DEVICES
@pytest.mark.parametrize("kind", ["c", "b", "u"])
@pytest.mark.clause("config-linux.md#devices/available")
def test_devices_in_a_user_namespace_have_the_configured_owner_and_mode(inside, kind):
    """The kernel allows only the host to make device nodes, also for devices of which the host has no node."""
    made = device("/dev/deep/mine", kind, 1, 5, fileMode=0o640, uid=7, gid=8)
    kernels = {"c": "character special file", "b": "block special file", "u": "character special file"}
    found = inside("stat -c '%F %t:%T %a %u %g' /dev/deep/mine", mapped(), made)
    assert found == f"{kernels[kind]} 1:5 640 7 8"


@DEVICES
def test_a_device_in_a_user_namespace_works(inside):
    made = device("/dev/mine", "c", 1, 5), device("/dev/null", "c", 1, 3, fileMode=0o600)
    script = """
    head -c 3 /dev/mine | od -An -tx1
    echo x > /dev/null
    stat -c %a /dev/null /dev/mine
    grep -c ' / ' /proc/mounts
    """
    found = inside(script, mapped(), *made).split()
    assert found == ["00", "00", "00", "600", "666", "1"]


@DEVICES
def test_a_device_in_a_joined_user_namespace_is_the_hosts_and_a_warning_says_so(containers):
    first = containers.start(mapped())
    path = f"/proc/{first.pid}/ns/user"
    joined = namespace("user", path), device("/dev/kmsg", "c", 1, 11, fileMode=0o600)
    done = containers.run("stat -c %t:%T /dev/kmsg", *joined)
    assert done.stdout == "1:b\n"
    assert "/linux/devices/0" in done.stderr
    assert "/linux/devices/0" in containers.refused(namespace("user", path), device("/dev/kmsg", "c", 1, 3))


@DEVICES
@pytest.mark.parametrize("owner", ["uid", "gid"])
def test_a_device_of_an_owner_that_is_not_mapped_is_an_error(containers, owner):
    said = containers.refused(mapped(size=10), device("/dev/kmsg", "c", 1, 11, **{owner: 10}))
    assert f"/linux/devices/0/{owner}  10\n" in said
    assert containers.run("true", mapped(size=10), device("/dev/kmsg", "c", 1, 11, **{owner: 9})).returncode == 0


@LINKS
def test_containers_may_share_a_dev_in_their_root_filesystem(containers, runtime):
    """Each replaces /dev/ptmx, and another one comes in between."""

    def shared(config):
        config["mounts"] = [entry for entry in config["mounts"] if not entry["destination"].startswith("/dev")]
        config["root"].update(path=str(containers.folder / "bundle1/rootfs"), readonly=False)

    first = containers.bundle("true", shared, own=True)
    (first / "rootfs/dev/ptmx").touch()
    paths = [first, *(containers.bundle("true", shared) for _ in range(7))]
    for _ in range(3):
        calls = [
            subprocess.Popen(runtime.command("run", "-b", path, runtime.id()), stdin=-3, stderr=-1) for path in paths
        ]
        for call in calls:
            said = call.communicate()[1]
            assert call.returncode == 0, said


@DEVICES
def test_a_bound_dev_is_left_alone(containers, tmp_path):
    (tmp_path / "dev").mkdir()

    def bound(config):
        config["mounts"] = [
            {"destination": "/dev", "type": "bind", "source": str(tmp_path / "dev"), "options": ["rbind"]}
        ]

    containers.start(bound)
    assert "null" not in os.listdir(tmp_path / "dev")


# ---- Default filesystems ----


@DEFAULT_FILESYSTEMS
@pytest.mark.parametrize(
    ("path", "fstype"), [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
)
@pytest.mark.clause("config-linux.md#default-filesystems/available")
def test_default_filesystems_are_there_without_being_listed(containers, path, fstype):
    container = containers.start(nothing_mounted, writable, own=True)
    found = {one.path: one.type for one in mounts(container.proc("mountinfo").read_text())}
    assert found[path] == fstype


@pytest.mark.clause("config-linux.md#default-filesystems/available")
def test_a_default_filesystem_is_below_what_is_listed_in_it(containers):
    """Also in /dev/shm, which comes after a listed /dev."""
    listed = mount("/sys/fs/cgroup", "cgroup", "cgroup"), mount("/dev/shm/mine", "tmpfs", "tmpfs")
    container = containers.start(nothing_mounted, *listed, writable, own=True)
    found = [(one.path, one.type) for one in mounts(container.proc("mountinfo").read_text())]
    assert found.index(("/sys", "sysfs")) < next(found.index(one) for one in found if one[0] == "/sys/fs/cgroup")
    assert found.index(("/dev/shm", "tmpfs")) < found.index(("/dev/shm/mine", "tmpfs"))
    assert container.exec("ls", "/sys/class/net").stdout.split() == ["lo"]


@DEFAULT_FILESYSTEMS
def test_a_default_filesystem_without_the_place_for_what_is_listed_gives_way(containers):
    container = containers.start(nothing_mounted, mount("/sys/mine", "tmpfs", "tmpfs"), writable, own=True)
    found = [one.path for one in mounts(container.proc("mountinfo").read_text())]
    assert "/sys/mine" in found
    assert "/sys" not in found


@DEFAULT_FILESYSTEMS
def test_listed_filesystems_are_not_mounted_twice(containers):
    container = containers.start()
    paths = [one.path for one in mounts(container.proc("mountinfo").read_text())]
    for path in ("/proc", "/sys", "/dev/pts", "/dev/shm"):
        assert paths.count(path) == 1


@DEFAULT_FILESYSTEMS
def test_default_filesystems_serve_the_containers_namespaces(inside):
    found = inside("echo $$; readlink /proc/self; ls /sys/class/net", nothing_mounted, writable, own=True)
    assert found.split()[0] == "1"
    assert found.split()[-1] == "lo"


@DEFAULT_FILESYSTEMS
def test_default_filesystems_on_a_read_only_root(inside):
    assert inside("ls /proc/self/status", nothing_mounted, own=True) == "/proc/self/status"


@DEFAULT_FILESYSTEMS
def test_with_the_hosts_network_sysfs_is_still_there(inside):
    assert "lo" in inside("ls /sys/class/net", nothing_mounted, writable, inherit("network"), own=True)


@DEFAULT_FILESYSTEMS
def test_a_proc_that_is_listed_is_the_one_that_is_used(mounted):
    found = mounted("/proc", unmount("/proc"), mount("/proc", "proc", "mine", "noexec"))
    assert found.source == "mine"


@DEVICES
def test_making_more_devices_needs_the_capability(inside):
    script = "mknod /dev/shm/null c 1 3 2>&1 || true"
    assert "not permitted" in inside(script)
    assert inside(f"{script}; ls /dev/shm", capable("MKNOD")) == "null"


@DEVICES
def test_devices_are_there_with_a_read_only_dev(containers):
    def readonly(config):
        next(one for one in config["mounts"] if one["destination"] == "/dev")["options"].append("ro")

    container = containers.start(readonly, device("/dev/fuse", "c", 10, 229))
    assert node(container, "/dev/fuse")[:3] == (stat.S_IFCHR, 10, 229)
    found = {one.path: one for one in mounts(container.proc("mountinfo").read_text())}
    assert "ro" in found["/dev"].options


@DEVICES
def test_no_devices_at_all_is_fine(inside):
    assert inside("echo ok", linux(devices=[]), top(annotations={})) == "ok"
