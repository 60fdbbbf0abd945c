"""engine.launch: what the host holds of a process that it has made."""

import os
import signal
import types

import pytest

from pyruntime.base.errors import Error
from pyruntime.cgroup.cgroup import Cgroup
from pyruntime.engine.child import again, launch
from pyruntime.engine.child import child as child_module
from pyruntime.engine.child.host_files import HostFiles
from pyruntime.protocol import messages


@pytest.fixture
def waiting():
    """The pid of a child that waits for the end of a socket that the parent holds, and that socket."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    yield pid, theirs
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_a_process_without_a_pidfd_is_ended_as_well(waiting):
    child = launch.Child(waiting[1], Cgroup({}, []))
    child.pid, child.pidfd = waiting[0], -24
    signal.alarm(10)
    child.kill()
    signal.alarm(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(waiting[0], os.WNOHANG)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(waiting[1])


def test_an_init_that_cannot_be_held_on_to_is_an_error(waiting, monkeypatch):
    def answer(pid):
        return launch.lib.pyr_pidfd_open(pid) if pid != waiting[0] else -23

    lib = types.SimpleNamespace(pyr_pidfd_send_signal=launch.lib.pyr_pidfd_send_signal, pyr_pidfd_open=answer)
    child = launch.Child(waiting[1], Cgroup({}, []))
    child.pid = os.fork()  # the one that passes through
    if child.pid == 0:
        os._exit(0)
    child.pidfd = launch.lib.pyr_pidfd_open(child.pid)
    monkeypatch.setattr(child_module, "lib", lib)
    monkeypatch.setattr(messages, "read", lambda sync: bytes([launch.lib.MESSAGE_PID]) + str(waiting[0]).encode())
    with pytest.raises(Error) as error:
        launch._accompany(child, types.SimpleNamespace(plan=None), types.SimpleNamespace(flags=launch.lib.SPAWN_VIA))
    assert error.value.errno == 23
    assert (child.pid, child.pidfd) == (waiting[0], -23)
    child.kill()


def test_a_process_that_ended_by_itself_is_not_made_again():
    child = launch.Child(-1, Cgroup({}, []))
    child.pid = os.fork()
    if child.pid == 0:
        os._exit(3)
    child.pidfd = launch.lib.pyr_pidfd_open(child.pid)
    request = types.SimpleNamespace(plan=types.SimpleNamespace(filter=None), host_files=None)
    with pytest.raises(Error, match="exited with status 3"):
        again.prepare(child, request, None)
    assert (child.pid, child.pidfd) == (0, -1)


def test_exactly_the_owned_descriptors_are_closed():
    fds = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(9)]
    foreign = {fds[2], fds[5]}
    files = HostFiles()
    for fd in reversed(fds):
        if fd not in foreign:
            files.own(fd)
    files.close()
    files.close()  # nothing is left
    assert {fd for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")} == foreign
    for fd in foreign:
        os.close(fd)
