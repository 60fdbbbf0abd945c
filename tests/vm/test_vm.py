"""The tests that are run in a machine with systemd and cgroup v2: each of them is reported as a test of this run."""

import fcntl
import queue
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "validation"))
import boots
import image
import machine
import reports

import suite

NAMES = ["v2", "older"]


@pytest.fixture(scope="session")
def disk():
    """The directory of the machine's image. One test at a time has it: two machines at once would be too slow."""
    if reason := image.obstacle():
        pytest.skip(reason)
    image.CACHE.mkdir(parents=True, exist_ok=True)
    with (image.CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield image.get()


@pytest.fixture(scope="session")
def environment(disk):
    """pyruntime, built for the machine's Python."""
    suite.get()
    return boots.built()


@pytest.fixture(scope="session")
def sent(disk, environment):
    """Name of a machine -> what its tests send, as it comes; None at the end, or what went wrong.

    All run at once: each of them waits much, and emulation uses little more than one processor.
    """
    queues = {}
    for boot in boots.boots(environment):
        queues[boot.name] = queue.SimpleQueue()
        threading.Thread(target=_hand_on, args=(boot, disk, queues[boot.name]), daemon=True).start()
    return queues


def _hand_on(boot, disk, target):
    try:
        for data in machine.run(boot, disk, image.CACHE):
            target.put(data)
        target.put(None)
    except BaseException as error:  # it is raised again by the test
        target.put(error)


@pytest.mark.parametrize("name", NAMES)
def test_machine(name, sent, request):
    reports.take(request, _received(sent[name]))


def _received(queue):
    """Yield what comes through `queue` until its end, or raise what went wrong."""
    while (data := queue.get()) is not None:
        if isinstance(data, BaseException):
            raise data
        yield data
