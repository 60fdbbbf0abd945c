"""Directories that turn into links, and back, while the runtime works on them."""
# ruff: noqa: B023, F401, F811
# Fixtures are imported from host.py, and lambdas are called at once.

import ctypes
import os
import threading

import pytest
from host import host, keeper

ROUNDS = 12
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
        # /proc/version stands for what is worth hiding.
        config["linux"]["maskedPaths"] = ["/proc/version"]
        config["process"]["args"] = ["sh", "-c", "cat /proc/version /link/version /tmp/version 2> /dev/null"]

    bundle = host.bundle(configure, own=True)
    (bundle / "rootfs/link").symlink_to("/tmp")
    swapping(bundle / "rootfs/proc", bundle / "rootfs/link")
    for _ in range(ROUNDS):
        assert "Linux" not in host.runtime("run", "-b", bundle, host.runtime.id(), check=False).stdout
