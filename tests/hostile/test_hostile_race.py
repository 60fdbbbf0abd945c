"""Directories that turn into links, and back, while the runtime works on them."""
# ruff: noqa: B023, F401, F811
# Fixtures are imported from host.py, and lambdas are called at once.

import ctypes
import os
import subprocess
import threading

import pytest
from host import host, keeper

ROUNDS = 12
FILES = 16
RENAME_EXCHANGE = 2


@pytest.fixture
def swapping():
    """A function: from now on the two paths change their places as fast as can be, until the test ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    threads = []

    def swap(one: bytes, other: bytes) -> None:
        while not stop.is_set():
            libc.renameat2(-100, one, -100, other, RENAME_EXCHANGE)

    def start(one, other) -> None:
        threads.append(threading.Thread(target=swap, args=(os.fsencode(one), os.fsencode(other)), daemon=True))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def race(host, swapping, change, target="{outside}") -> list[int]:
    """Create containers while /place is now a directory and now a link; return the exit statuses."""

    def configure(config) -> None:
        config["process"]["args"] = ["true"]
        config["root"]["readonly"] = False
        change(config)

    bundle = host.bundle(configure, own=True)
    (bundle / "rootfs/place/directory").mkdir(parents=True)
    (bundle / "rootfs/place/file").write_text("inside")
    (bundle / "rootfs/link").symlink_to(target.format(outside=host.outside))
    swapping(bundle / "rootfs/place", bundle / "rootfs/link")
    return [host.runtime("run", "-b", bundle, host.runtime.id(), check=False).returncode for _ in range(ROUNDS)]


CHANGES = {
    "tmpfs": lambda config, outside: config["mounts"].append(
        {"destination": "/place/directory", "type": "tmpfs", "source": "tmpfs"}
    ),
    "a tmpfs on a new directory": lambda config, outside: config["mounts"].append(
        {"destination": "/place/directory/new/and/newer", "type": "tmpfs", "source": "tmpfs"}
    ),
    "a file bound on a new file": lambda config, outside: config["mounts"].append(
        {"destination": "/place/new", "type": "bind", "source": str(outside / "file"), "options": ["bind", "ro"]}
    ),
    "devices": lambda config, outside: config["linux"].update(
        devices=[{"path": "/place/new-device", "type": "c", "major": 1, "minor": 3, "fileMode": 0o777, "uid": 5}]
    ),
    "hidden paths": lambda config, outside: config["linux"].update(
        maskedPaths=["/place/file"], readonlyPaths=["/place/directory"]
    ),
    "the working directory": lambda config, outside: config["process"].update(cwd="/place/directory/cwd"),
    "copying up": lambda config, outside: config["mounts"].append(
        {"destination": "/place", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_place_that_turns_into_a_link_leads_nowhere_outside(host, swapping, kind):
    # Any one of them may fail, because the place is gone; whether the host is untouched is checked by `host`.
    assert set(race(host, swapping, lambda config: CHANGES[kind](config, host.outside))) <= {0, 1}


def test_procfs_is_where_it_is_masked_although_its_place_turns_into_a_link(host, swapping):
    def configure(config) -> None:
        # /proc/version stands for any file that is to be hidden.
        config["linux"]["maskedPaths"] = ["/proc/version"]
        config["process"]["args"] = ["sh", "-c", "cat /proc/version /link/version /tmp/version 2> /dev/null"]

    bundle = host.bundle(configure, own=True)
    (bundle / "rootfs/link").symlink_to("/tmp")
    swapping(bundle / "rootfs/proc", bundle / "rootfs/link")
    for _ in range(ROUNDS):
        assert "Linux" not in host.runtime("run", "-b", bundle, host.runtime.id(), check=False).stdout


def test_a_copied_file_has_owner_mode_and_content_of_one_file(host, swapping):
    """Otherwise a user's own program would become one that runs as root."""

    def change(config) -> None:
        config["mounts"].append({"destination": "/spool", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})
        config["process"]["args"] = ["sh", "-c", 'for f in /spool/*; do echo "$(stat -c "%a %u" $f) $(cat $f)"; done']

    bundle = host.bundle(change, own=True)
    spool = bundle / "rootfs/spool"
    spool.mkdir()
    for number in range(FILES):
        ours, theirs = spool / f"{number}-root", spool / f"{number}-user"
        ours.write_text("root")
        ours.chmod(0o4755)
        theirs.write_text("user")
        os.chown(theirs, 1000, 1000)
        theirs.chmod(0o755)
        if number % 8 == 0:
            swapping(ours, theirs)
    found = set()
    for _ in range(ROUNDS):
        found.update(host.runtime("run", "-b", bundle, host.runtime.id()).stdout.splitlines())
    assert found == {"4755 0 root", "755 1000 user"}


def test_what_only_mount2_takes_changes_no_other_mount_although_its_directory_is_renamed(host, swapping):
    def configure(config) -> None:
        config["process"]["args"] = ["cat", "/proc/self/mountinfo"]
        config["root"]["readonly"] = False
        config["mounts"][1:1] = [
            {"destination": "/one/place", "type": "tmpfs", "source": "first"},
            {"destination": "/two/place", "type": "tmpfs", "source": "second", "options": ["silent", "shared"]},
        ]

    bundle = host.bundle(configure, own=True)
    for name in ("one", "two"):
        (bundle / "rootfs" / name / "place").mkdir(parents=True)
    swapping(bundle / "rootfs/one", bundle / "rootfs/two")
    for _ in range(5 * ROUNDS):
        done = host.runtime("run", "-b", bundle, host.runtime.id(), check=False)
        assert "ESTALE" not in done.stderr
        assert not [line for line in done.stdout.splitlines() if " - tmpfs first" in line and "shared:" in line]


def in_the_hosts_mount_namespace(config) -> None:
    config["process"]["args"] = ["true"]
    config["root"]["readonly"] = False
    config["mounts"] = []
    linux = config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "mount"]
    for name in ("maskedPaths", "readonlyPaths"):
        linux.pop(name, None)


def test_a_root_filesystem_that_turns_into_a_link_is_mounted_over_no_other_directory(host, swapping):
    """Without a mount namespace of its own the root filesystem is mounted over itself, on the host."""
    bundle = host.bundle(in_the_hosts_mount_namespace, own=True)
    (bundle / "link").symlink_to(host.outside / "directory")
    swapping(bundle / "rootfs", bundle / "link")
    ends = [host.runtime("run", "-b", bundle, host.runtime.id(), check=False) for _ in range(5 * ROUNDS)]
    assert {done.returncode for done in ends} == {0, 1}
    assert not [done.stderr for done in ends if "EBADF" in done.stderr]
    # If delete found the link there, its own mount is left, under one of the two names.
    names = {str(bundle / "rootfs"), str(bundle / "link")}
    while names & {line.split()[4] for line in host.mounts()}:
        words = [f"--mount=/proc/{host.keeper}/ns/mnt", "umount", "--lazy", "--no-canonicalize", bundle / "rootfs"]
        subprocess.run(["nsenter", *words], stderr=subprocess.DEVNULL, check=False)


def test_a_root_filesystem_that_turns_into_a_link_is_the_containers_all_the_same(host, swapping):
    """In a mount namespace of its own it has another place to wait at than its own, which may be the link by then."""

    def change(config) -> None:
        config["process"]["args"] = ["cat", "/inside"]

    bundle = host.bundle(change, own=True)
    (bundle / "rootfs/inside").write_text("inside")
    (bundle / "link").symlink_to(host.outside / "directory")
    swapping(bundle / "rootfs", bundle / "link")
    ends = [host.runtime("run", "-b", bundle, host.runtime.id(), check=False) for _ in range(5 * ROUNDS)]
    assert {(done.stdout, done.returncode) for done in ends} == {("inside", 0), ("", 1)}
    assert all("it leads out of the bundle" in done.stderr for done in ends if done.returncode)


def test_delete_unmounts_the_root_filesystem_and_nothing_else_where_its_path_leads_by_then(host):
    """What the owner of a bundle would have root unmount: the mount at `elsewhere/rootfs`, by the bundle's name."""
    bundle = host.bundle(in_the_hosts_mount_namespace, own=True)
    name = host.runtime.id()
    elsewhere = host.outside.with_name("elsewhere")
    (elsewhere / "rootfs").mkdir(parents=True)
    inside = ["nsenter", f"--mount=/proc/{host.keeper}/ns/mnt"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "kept", elsewhere / "rootfs"], check=True)
    host.runtime("create", "-b", bundle, name)
    moved = bundle.with_name("moved")
    bundle.rename(moved)
    bundle.symlink_to(elsewhere)
    assert "is left" in host.runtime("delete", "--force", name).stderr
    assert [line for line in host.mounts() if " kept " in line]
    subprocess.run([*inside, "umount", elsewhere / "rootfs"], check=True)
    subprocess.run([*inside, "umount", "--lazy", moved / "rootfs"], check=True)
    bundle.unlink()
    moved.rename(bundle)
