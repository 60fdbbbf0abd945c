"""The limit of pids that is raised while the intermediate process is in a group: it is put back whatever happens."""

import fcntl
import os
import signal
import types

import pytest

from pyruntime.base.errors import Error
from pyruntime.cgroup import room

PATIENCE = 1000


@pytest.fixture
def group(tmp_path):
    """Files as the kernel's, and the groups that they are in."""
    (tmp_path / "pids.max").write_text("2\n")
    (tmp_path / "pids.current").write_text("2\n")
    return types.SimpleNamespace(paths={"pids": str(tmp_path)}, limit=tmp_path / "pids.max")


def lend(group):
    return room.lend(group, 1, PATIENCE, lambda: None)


def test_the_limit_is_raised_and_put_back(group):
    loan = lend(group)
    assert group.limit.read_text() == "3\n"
    loan.end()
    assert group.limit.read_text() == "2\n"


def test_the_limit_is_put_back_if_the_runtime_is_killed(group):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lend(group)
            os.write(writer, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    assert group.limit.read_text() == "3\n"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with group.limit.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # which the process that puts it back holds until then
        assert file.read() == "2\n"


def test_a_limit_that_somebody_sets_meanwhile_stays(group):
    loan = lend(group)
    group.limit.write_text("9\n")
    loan.end()
    assert group.limit.read_text() == "9\n"


def test_a_group_that_is_full_is_an_error(group):
    (group.limit.parent / "pids.current").write_text("3\n")
    with pytest.raises(Error, match="its limit is 2") as caught:
        lend(group)
    assert caught.value.pointer == "/linux/resources/pids/limit"
    assert group.limit.read_text() == "2\n"


def test_another_limit_than_the_groups_is_an_error(group):
    group.limit.write_text("max\n")
    with pytest.raises(Error, match="RLIMIT_NPROC"):
        lend(group)
